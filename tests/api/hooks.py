"""What the API's description cannot tell schemathesis: a piece of a file is sent as any bytes are."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
