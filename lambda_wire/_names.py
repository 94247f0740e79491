"""Every literal of the wire, once: paths, header names, media types, environment variables.

Sources: AWS Lambda Developer Guide ("Using the Lambda runtime API", "Building a custom runtime"), AWS's Runtime API
OpenAPI 1.0.3, and the Runtime Interface Emulator shipped in aws-sam-cli 1.170.0, observed 2026-11.
Header names are written as AWS writes them; comparison is always without case (RFC 9110, 5.1).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


# -- Runtime API, version 2018-06-01
NEXT_PATH: Final = "/2018-06-01/runtime/invocation/next"
RESPONSE_PATH: Final = "/2018-06-01/runtime/invocation/{request_id}/response"
ERROR_PATH: Final = "/2018-06-01/runtime/invocation/{request_id}/error"
INIT_ERROR_PATH: Final = "/2018-06-01/runtime/init/error"
RESTORE_NEXT_PATH: Final = "/2018-06-01/runtime/restore/next"
RESTORE_ERROR_PATH: Final = "/2018-06-01/runtime/restore/error"
PING_PATH: Final = "/2018-06-01/ping"

# -- Lambda API, as its callers use it
INVOKE_PREFIX: Final = "/2015-03-31/functions/"
INVOKE_SUFFIX: Final = "/invocations"
STREAMING_INVOKE_PREFIX: Final = "/2021-11-15/functions/"
STREAMING_INVOKE_SUFFIX: Final = "/response-streaming-invocations"

# -- headers of GET /next answers
AWS_REQUEST_ID: Final = "Lambda-Runtime-Aws-Request-Id"
DEADLINE_MS: Final = "Lambda-Runtime-Deadline-Ms"
INVOKED_FUNCTION_ARN: Final = "Lambda-Runtime-Invoked-Function-Arn"
TRACE_ID: Final = "Lambda-Runtime-Trace-Id"
CLIENT_CONTEXT: Final = "Lambda-Runtime-Client-Context"
COGNITO_IDENTITY: Final = "Lambda-Runtime-Cognito-Identity"
AWS_TENANT_ID: Final = "Lambda-Runtime-Aws-Tenant-Id"
INVOCATION_ID: Final = "Lambda-Runtime-Invocation-Id"

# -- headers and trailers of what the runtime posts
FUNCTION_RESPONSE_MODE: Final = "Lambda-Runtime-Function-Response-Mode"
FUNCTION_ERROR_TYPE: Final = "Lambda-Runtime-Function-Error-Type"
FUNCTION_ERROR_BODY: Final = "Lambda-Runtime-Function-Error-Body"
FUNCTION_XRAY_ERROR_CAUSE: Final = "Lambda-Runtime-Function-XRay-Error-Cause"
STREAMING: Final = "streaming"

# -- HTTP
CONTENT_TYPE: Final = "Content-Type"
CONTENT_LENGTH: Final = "Content-Length"
TRANSFER_ENCODING: Final = "Transfer-Encoding"
TRAILER: Final = "Trailer"
HOST: Final = "Host"
USER_AGENT: Final = "User-Agent"
CONNECTION: Final = "Connection"
DATE: Final = "Date"
ALLOW: Final = "Allow"
X_CONTENT_TYPE_OPTIONS: Final = "X-Content-Type-Options"

#: Fields that frame a message, in lower case: never trailers (RFC 9110, 6.5.1).
FRAMING_FIELDS: Final = frozenset({"content-length", "trailer", "transfer-encoding"})
#: Fields of one connection and not of the message, in lower case (RFC 9110, 7.6.1; Trailer: RFC 2616, 13.5.1).
HOP_BY_HOP_FIELDS: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)

# -- members of the error document
ERROR_MESSAGE: Final = "errorMessage"
ERROR_TYPE: Final = "errorType"
STACK_TRACE: Final = "stackTrace"

# -- headers of Invoke and InvokeWithResponseStream
X_AMZ_FUNCTION_ERROR: Final = "X-Amz-Function-Error"
X_AMZ_INVOCATION_TYPE: Final = "X-Amz-Invocation-Type"
X_AMZ_LOG_TYPE: Final = "X-Amz-Log-Type"
X_AMZ_LOG_RESULT: Final = "X-Amz-Log-Result"
X_AMZ_CLIENT_CONTEXT: Final = "X-Amz-Client-Context"
X_AMZ_TENANT_ID: Final = "X-Amz-Tenant-Id"
X_AMZ_EXECUTED_VERSION: Final = "X-Amz-Executed-Version"
X_AMZN_REQUEST_ID: Final = "X-Amzn-RequestId"
X_AMZN_TRACE_ID: Final = "X-Amzn-Trace-Id"
X_AMZN_ERROR_TYPE: Final = "X-Amzn-ErrorType"
X_AMZN_REMAPPED_PREFIX: Final = "X-Amzn-Remapped-"
X_AMZN_REMAPPED_CONTENT_TYPE: Final = "X-Amzn-Remapped-Content-Type"
X_AMZN_REMAPPED_CONTENT_LENGTH: Final = "X-Amzn-Remapped-Content-Length"

# -- messages of InvokeWithResponseStream: headers, values, and members of InvokeComplete
MESSAGE_TYPE: Final = ":message-type"
EVENT_TYPE: Final = ":event-type"
EXCEPTION_TYPE: Final = ":exception-type"
EVENT_CONTENT_TYPE: Final = ":content-type"
EVENT_ERROR_CODE: Final = ":error-code"
EVENT_ERROR_MESSAGE: Final = ":error-message"
PAYLOAD_CHUNK: Final = "PayloadChunk"
INVOKE_COMPLETE: Final = "InvokeComplete"
ERROR_CODE: Final = "ErrorCode"
ERROR_DETAILS: Final = "ErrorDetails"
LOG_RESULT: Final = "LogResult"

# -- errors of the Lambda API; a function URL's documents have the last member alone
FAULT_TYPE: Final = "Type"
FAULT_MESSAGE: Final = "message"
URL_FAULT_MESSAGE: Final = "Message"
INVALID_PARAMETER_VALUE: Final = "InvalidParameterValueException"
INVALID_REQUEST_CONTENT: Final = "InvalidRequestContentException"
METHOD_NOT_ALLOWED: Final = "MethodNotAllowedException"
REQUEST_TOO_LARGE: Final = "RequestTooLargeException"

# -- media types
JSON: Final = "application/json"
EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
OCTET_STREAM: Final = "application/octet-stream"
HTTP_INTEGRATION_RESPONSE: Final = "application/vnd.awslambda.http-integration-response"
PLAIN_TEXT: Final = "text/plain; charset=utf-8"

# -- error types of the service and of runtimes
INVALID_REQUEST_ID: Final = "InvalidRequestID"
INVALID_STATE_TRANSITION: Final = "InvalidStateTransition"
INVALID_FUNCTION_RESPONSE_MODE: Final = "InvalidFunctionResponseMode"
REQUEST_ENTITY_TOO_LARGE: Final = "RequestEntityTooLarge"
TRUNCATED_HTTP_REQUEST: Final = "TruncatedHTTPRequest"
INVOKE_TIMEOUT: Final = "InvokeTimeout"
FUNCTION_UNKNOWN: Final = "Function.Unknown"
FUNCTION_RESPONSE_SIZE_TOO_LARGE: Final = "Function.ResponseSizeTooLarge"
RUNTIME_UNKNOWN: Final = "Runtime.Unknown"
RUNTIME_EXIT_ERROR: Final = "Runtime.ExitError"
RUNTIME_TRUNCATED_RESPONSE: Final = "Runtime.TruncatedResponse"
RUNTIME_IMPORT_MODULE_ERROR: Final = "Runtime.ImportModuleError"
RUNTIME_HANDLER_NOT_FOUND: Final = "Runtime.HandlerNotFound"
RUNTIME_MALFORMED_HANDLER_NAME: Final = "Runtime.MalformedHandlerName"
RUNTIME_USER_CODE_SYNTAX_ERROR: Final = "Runtime.UserCodeSyntaxError"
RUNTIME_BUILT_IN_MODULE_CONFLICT: Final = "Runtime.BuiltInModuleConflict"
RUNTIME_MARSHAL_ERROR: Final = "Runtime.MarshalError"
RUNTIME_UNMARSHAL_ERROR: Final = "Runtime.UnmarshalError"
RUNTIME_LAMBDA_CONTEXT_UNMARSHAL_ERROR: Final = "Runtime.LambdaContextUnmarshalError"
RUNTIME_BEFORE_SNAPSHOT_ERROR: Final = "Runtime.BeforeSnapshotError"
RUNTIME_AFTER_RESTORE_ERROR: Final = "Runtime.AfterRestoreError"
SANDBOX_TIMEDOUT: Final = "Sandbox.Timedout"

# -- environment variables
ENV_RUNTIME_API: Final = "AWS_LAMBDA_RUNTIME_API"
ENV_HANDLER: Final = "_HANDLER"
ENV_TASK_ROOT: Final = "LAMBDA_TASK_ROOT"
ENV_TRACE_ID: Final = "_X_AMZN_TRACE_ID"
ENV_FUNCTION_NAME: Final = "AWS_LAMBDA_FUNCTION_NAME"
ENV_FUNCTION_VERSION: Final = "AWS_LAMBDA_FUNCTION_VERSION"
ENV_FUNCTION_MEMORY_SIZE: Final = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
ENV_LOG_GROUP_NAME: Final = "AWS_LAMBDA_LOG_GROUP_NAME"
ENV_LOG_STREAM_NAME: Final = "AWS_LAMBDA_LOG_STREAM_NAME"
ENV_INITIALIZATION_TYPE: Final = "AWS_LAMBDA_INITIALIZATION_TYPE"
#: The value of ``AWS_LAMBDA_INITIALIZATION_TYPE`` where a snapshot is to be taken.
SNAP_START: Final = "snap-start"
ENV_MAX_CONCURRENCY: Final = "AWS_LAMBDA_MAX_CONCURRENCY"
ENV_EXECUTION_ENV: Final = "AWS_EXECUTION_ENV"
#: Ours: the installed module that reads and writes JSON in place of the standard library's.
ENV_JSON_MODULE: Final = "LAMBDA_WIRE_JSON"
ENV_REGION: Final = "AWS_REGION"
ENV_DEFAULT_REGION: Final = "AWS_DEFAULT_REGION"
