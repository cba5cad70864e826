"""What happened in a run, in a browser: one file to keep and send (`lamarck.web.report`), or a page that follows a run (`lamarck.web.page`).

Both show the same views, from the same data: reports as columns (`lamarck.web.data`) and what they mean in words (`lamarck.web.summary`).
Whatever can be told from the reports, such as families and ancestries, the browser works out; it needs that anyway, while reports keep coming.
"""

from lamarck.web.report import report, write_report

__all__ = ["report", "write_report"]
