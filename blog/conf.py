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
html_theme,html_title = 'furo','forgetprune'
html_math_renderer = 'mathml'
html_favicon = str(here/'static/favicon.svg')
html_static_path = [str(here/'static')]
html_css_files,html_js_files = ['site.css'],['search.js', ('site.js', dict(defer='defer'))]
html_show_sphinx = html_use_index = False
html_copy_source = html_show_sourcelink = False
html_theme_options = dict(navigation_with_keys=False,
    light_css_variables={'sidebar-item-font-size': '0.86rem', 'color-problematic': '#b30000'})
pygments_style,pygments_dark_style = 'a11y-high-contrast-light','a11y-high-contrast-dark'
templates_path = []
bibtex_bibfiles,bibtex_default_style,bibtex_reference_style = [str(
    here/'references.bib')],'plain','author_year'
# what is folded is copied where it is unfolded: a signature alone would run, and do nothing
copybutton_selector = ':not(.output):not(.folded) > div[class*="highlight-"] > div.highlight > pre'
copybutton_exclude = '.linenos, .gp, .go'
