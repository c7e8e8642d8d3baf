"""Pages that people open in a browser: pictures in one HTML file, without network. No torch."""

from addsr_cli.report.page import Page
from addsr_cli.report.viewer import Embedding, Picture, check_count, compare_page, viewer_html

__all__ = ["Embedding", "Page", "Picture", "check_count", "compare_page", "viewer_html"]
