"""How figures are stored in the notebooks. For `full.py`, `blog.py` and `readme.py`

As SVG for the site, as a small PNG for whatever shows no SVG, and, for narrow screens: where panels
stand side by side, each panel as an SVG of its own; where one panel is wide, a narrower drawing.
"""
import base64, io, re
from textwrap import fill
from xml.etree import ElementTree

panels_type = 'application/vnd.forgetprune.panels+json'
narrow,many = 2.,6 # inches that a panel must have to be shown alone; more panels are too long a way
phone = 4.4 # inches of a figure whose letters a phone shows as large as they are

def taken_apart(fig):
    "Are there panels side by side, large and few enough to be shown one below the other?"
    places = {tuple(ax.get_position().bounds) for ax in fig.axes}
    if not 1 < len(places) <= many or not all(ax.axison for ax in fig.axes): return False
    width = fig.get_size_inches()[0]
    beside = len({round(left, 2) for left,*_ in places}) > 1
    return beside and min(w*width for _,_,w,_ in places) >= narrow

def alone_and_wide(fig):
    "Is there one panel, too wide for a phone to show its letters?"
    alone = len(fig.axes)==1 and fig.axes[0].axison and not fig.legends
    return alone and fig.get_size_inches()[0] > 1.2*phone

def _lie_apart(labels):
    "Does none of these texts lie on its neighbour?"
    boxes = [t.get_window_extent() for t in labels if t.get_visible() and t.get_text()]
    return not any(a.overlaps(b) for a,b in zip(boxes, boxes[1:]))

def made_narrow(fig):
    "Lay out the figure's panel as wide as a phone; False if its labels lie on each other then"
    [ax] = fig.axes
    fig.set_size_inches(phone, max(fig.get_size_inches()[1], 0.85*phone))
    ax.set_title(fill(ax.get_title(), 46))
    if (key := ax.get_legend()) is not None: # within it would lie on the lines
        key.set_loc('upper center')
        key.set_bbox_to_anchor((0.5, -0.2), ax.transAxes)
    if fig.get_layout_engine() is None: fig.tight_layout()
    fig.draw_without_rendering()
    return _lie_apart(ax.get_xticklabels())

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
    "A matplotlib figure as a notebook stores it; the figure itself is not what it was, after"
    from forgetprune.figures import figure_svg, panels
    # a cell's last value is asked for twice, and is no whole any more at the second time
    if (made := getattr(fig, '_stored', None)) and not fig.stale: return made
    res = {'image/svg+xml': smaller(figure_svg(fig)), 'text/plain': repr(fig),
        'image/png': base64.b64encode(small_png(fig)).decode()}
    if taken_apart(fig) or alone_and_wide(fig) and made_narrow(fig):
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
