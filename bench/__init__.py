"""What lambda_wire costs beside its peers, measured side by side: ``python -m bench``. No part of the package."""
