"""How figures are stored in the notebooks. For `full.py`, `blog.py` and `readme.py`

As SVG for the site, as a small PNG for whatever shows no SVG, and, where panels stand side by side,
each panel as an SVG of its own, for narrow screens.
"""
import base64, io, re
from xml.etree import ElementTree

panels_type = 'application/vnd.forgetprune.panels+json'
narrow,many = 2.,6 # inches that a panel must have to be shown alone; more panels are too long a way

def taken_apart(fig):
    "Are there panels side by side, large and few enough to be shown one below the other?"
    places = {tuple(ax.get_position().bounds) for ax in fig.axes}
    if not 1 < len(places) <= many or not all(ax.axison for ax in fig.axes): return False
    width = fig.get_size_inches()[0]
    beside = len({round(left, 2) for left,*_ in places}) > 1
    return beside and min(w*width for _,_,w,_ in places) >= narrow

def smaller(svg):
    "The same SVG as text: lines to a hundredth of a point, without indents and comments"
    text = re.sub(r'\bd="[^"]*"', lambda m: re.sub(r'(\.\d\d)\d+', r'\1', m[0]), svg.decode())
    return re.sub(r'\n\s*', '\n', re.sub(r'<!--.*?-->', '', text, flags=re.S))

def small_png(fig):
    "A figure as a PNG of 64 colours"
    from PIL import Image
    drawn,b = io.BytesIO(),io.BytesIO()
    fig.savefig(drawn, format='png', dpi=110, bbox_inches='tight')
    Image.open(drawn).convert('RGB').quantize(64).save(b, 'png', optimize=True)
    return b.getvalue()

def bundle(fig, include=None, exclude=None):
    "A matplotlib figure as a notebook stores it; the figure is taken apart"
    from forgetprune.figures import figure_svg, panels
    # a cell's last value is asked for twice, and is no whole any more at the second time
    if (made := getattr(fig, '_stored', None)) and not fig.stale: return made
    res = {'image/svg+xml': smaller(figure_svg(fig)), 'text/plain': repr(fig),
        'image/png': base64.b64encode(small_png(fig)).decode()}
    if taken_apart(fig):
        res[panels_type] = [dict(svg=smaller(svg), says=says) for svg,says in panels(fig)]
    fig._stored,fig.stale = res,False
    return res

def in_notebooks():
    "From here on notebooks that are run store their figures so"
    from execnb.shell import CaptureShell
    plain = CaptureShell.__init__
    def made(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        from matplotlib.figure import Figure
        self.display_formatter.formatters['image/png'].pop(Figure, None) # it would come first
        self.display_formatter.mimebundle_formatter.for_type(Figure, bundle)
    CaptureShell.__init__ = made

def svg_of(output):
    "A stored output's SVG as bytes; None without"
    text = output.get('data', {}).get('image/svg+xml')
    return text and ''.join(text).encode()

def png_of(output):
    "A stored output's PNG as bytes; None without"
    text = output.get('data', {}).get('image/png')
    return text and base64.b64decode(''.join(text))

def picture_of(output):
    "A stored output's picture as (ending, bytes): SVG if there is one, else PNG; None without"
    if svg := svg_of(output): return 'svg', svg
    png = png_of(output)
    return png and ('png', png)

def as_picture(output):
    "A stored output with its best picture alone"
    if 'image/svg+xml' not in output.get('data', {}): return output
    return output|dict(data={'image/svg+xml': output['data']['image/svg+xml']})

def panels_of(output):
    "A stored output's panels as pairs of an SVG (bytes) and what it shows"
    return [(p['svg'].encode(), p['says']) for p in output.get('data', {}).get(panels_type, [])]

def size_of(svg):
    "Width and height of an SVG in pixels of a page"
    root = ElementTree.fromstring(svg)
    return [float(root.get(side).removesuffix('pt'))*96/72 for side in ('width', 'height')]
