"""Sphinx's settings for the site of the course; tools/build_site.py calls Sphinx with them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import alive  # ours, beside this file

project = html_title = "xlib"
author = "the authors of xlib"
language = "en"
extensions = ["myst_nb", "sphinx_copybutton", "alive"]
nb_execution_mode = "off"  # the lessons have been run
nb_code_prompt_show, nb_code_prompt_hide = "Show code", "Hide code"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
myst_heading_slug_func = alive.slug

templates_path = ["templates"]
html_theme = "sphinx_book_theme"
html_theme_options = {
    "back_to_top_button": False,
    "article_header_end": "buttons.html",
    "footer_content_items": "",
    "logo": {"text": "xlib"},
    "navbar_persistent": "",
    "show_toc_level": 2,  # open from the start: what opens while one reads would move the rest
    "search_as_you_type": False,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_context = {"default_mode": "auto"}
html_sidebars = {"**": ["navbar-logo.html", "search-field.html", "sbt-sidebar-nav.html"]}
html_static_path = ["site.css", "pages.css", "site.js"]
html_css_files = ["site.css", "pages.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_math_renderer = "mathml"
add_module_names = smartquotes = False
python_maximum_signature_line_length = 88  # beyond, one argument a line
html_copy_source = html_use_index = html_domain_indices = False
html_show_search_summary = False  # it would ask for pages, which a page from file:// may not
copybutton_exclude = ".linenos, .gp, .go"
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "config.cache"]
