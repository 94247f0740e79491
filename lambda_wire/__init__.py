"""The AWS Lambda wire, sans I/O."""
