"""Pages that people open in a browser: pictures in one HTML file, without network. No torch."""

from addsr_cli.report.page import Page
from addsr_cli.report.viewer import MAX_PICTURES, Embedding, Picture, compare_page, viewer_html

__all__ = ["MAX_PICTURES", "Embedding", "Page", "Picture", "compare_page", "viewer_html"]
