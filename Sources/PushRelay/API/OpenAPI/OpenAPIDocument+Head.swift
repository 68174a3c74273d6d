// What the document says of itself.

extension OpenAPIDocument {
    static let head = #"""
        {
          "openapi": "3.1.0",
          "info": {
            "title": "Kinglet",
            "version": "1.0.0",
            "description": "Notifications by Kinglet: programs tell users something, apps \#
        register devices. Errors are problem documents (RFC 9457)."
          },
          "servers": [{"url": "/"}],
          "tags": [
            {
              "name": "tasks",
              "description": "For programs of the owner's, with a token of `kinglet token add`."
            },
            {
              "name": "registrations",
              "description": "For apps of the owner's, with the address and the password of \#
        their user."
            },
            {"name": "document", "description": "This description."}
          ],
          "components": {
            "securitySchemes": {
              "token": {"type": "http", "scheme": "bearer"},
              "password": {"type": "http", "scheme": "basic"}
            }
          }
        }
        """#
}
