"""Training loops of other libraries that follow a `lamarck.Schedule`: each module here needs its library, and nothing else imports it."""

__all__: list[str] = []
