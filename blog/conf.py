"""The site: chapters as they are stored, no execution, nothing fetched from anywhere; see
tools/blog.py"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
here = Path(__file__).parent
project,author = 'forgetprune','The forgetprune developers'
copyright = f'2026, {author}'
extensions = ['myst_nb', 'sphinx_copybutton', 'sphinxcontrib.bibtex', 'local_math']
exclude_patterns = []
nb_execution_mode = 'off'
nb_mime_priority_overrides = [('html', 'text/html', 5)]
myst_enable_extensions = ['dollarmath', 'attrs_inline', 'colon_fence', 'deflist']
myst_heading_anchors = 3
html_theme,html_title = 'sphinx_book_theme','forgetprune'
html_math_renderer = 'mathml'
html_favicon = str(here/'static/favicon.svg')
html_static_path = [str(here/'static')]
html_css_files,html_js_files = ['site.css'],['search.js']
html_context = dict(default_mode='auto')
html_show_sphinx = html_use_index = False
html_copy_source = html_show_sourcelink = False
html_theme_options = dict(show_toc_level=2, use_download_button=False, use_fullscreen_button=False,
    home_page_in_toc=False, show_navbar_depth=1)
html_sidebars = {'**': ['navbar-logo.html', 'sbt-sidebar-nav.html']}
templates_path = []
bibtex_bibfiles,bibtex_default_style,bibtex_reference_style = [str(
    here/'references.bib')],'plain','author_year'
copybutton_selector = 'div:not(.output) > div.highlight pre'
copybutton_exclude = '.linenos, .gp, .go'
