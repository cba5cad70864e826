"""Training-side help for particular libraries: each module here needs that library, and nothing else imports it."""

__all__: list[str] = []
