class Backend:
    def openssl_version_text(self) -> str: ...

backend: Backend
