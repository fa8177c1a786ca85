"""The pictures of the site: their sizes, their panels, and those that links show elsewhere. For
`blog.py`"""
import hashlib, re
from html import escape
from pathlib import Path
from PIL import Image
from chapters import cells, nbs
from staged import lead
from stored import panels_of, png_of, size_of, svg_of

widest,most_beside = 1300,4 # pixels of a picture and panels of one: more of both are shown apart
column,gap,least = 815,0.02,0.75 # pixels of the text; between panels; letters are no smaller, if so

class Figures:
    "The pictures of the site: their sizes, their panels, and those that links show elsewhere"
    def __init__(self, out, series):
        self.out,self.panels,self.shots = out/'_images',{},{}
        self.out.mkdir(exist_ok=True)
        stored = [*(c['nb']['cells'] for c in series.values()), cells(nbs/'index.ipynb')]
        for o in (o for chapter in stored for cell in chapter for o in cell.get('outputs', [])):
            if found := panels_of(o): self.panels[key(svg_of(o))] = found
        for n,c in series.items():
            if (first := lead(c)) is not None: self.shots[f'{n}.html'] = self.shot(n, first)
        self.sizes = {f.name: size(f) for f in self.out.glob('*')}

    def shot(self, n, cell):
        "The chapter's figure as a PNG, since what shows links knows no SVG"
        png = next(filter(None, map(png_of, cell['outputs'])))
        (self.out/f'{n}.png').write_bytes(png)
        return f'_images/{n}.png'

    def apart(self, src, file, found, always):
        "The panels of a figure as pictures for narrow screens or always; empty if none are known"
        folder,parts = src.rsplit('/', 1)[0],[]
        files = [f'{Path(file).stem}-{i}.svg' for i in range(len(found))]
        for f,(svg,_) in zip(files, found): (self.out/f).write_bytes(svg)
        sizes = [size(self.out/f) for f in files]
        shares = beside([w for w,_ in sizes])
        for i,((_,says),f,(width,height),share) in enumerate(zip(found, files, sizes, shares)):
            alt = escape(f'{i+1} of {len(found)}, {says}')
            at = f' style="--share: {share:.1%}"'*always
            parts.append(f'<img class="panel" alt="{alt}" src="{folder}/{f}" '
                f'width="{width:.0f}" height="{height:.0f}"{at} loading="lazy">')
        klass = 'apart always' if always else 'apart'
        return f'<span class="{klass}">{"".join(parts)}</span>' if parts else ''

    def shown(self, attributes, src, file, lazy):
        "A picture that opens in full size, with its size, and marked if it is a wide one"
        width,height = self.sizes[file]
        found = self.panels.get(key((self.out/file).read_bytes()), [])
        # of so wide a figure the letters would be too small on a wide screen as well
        always = 1 < len(found) <= most_beside and width > widest
        apart = self.apart(src, file, found, always)
        # on a phone two panels side by side would be too small, and so would letters of a large one
        wide = not apart and (width > 1.9*height or width > 800)
        klass = 'full'+(' whole'+' never'*always if apart else ' wide'*wide)
        more = '<span class="sideways">Wider than this screen: move it sideways.</span>'*wide
        attributes = re.sub(r' (width|height)="[^"]*"', '', attributes.rstrip(' /'))
        return (f'<a class="{klass}" href="{src}"><img{attributes} width="{width:.0f}" '
            f'height="{height:.0f}"{lazy}></a>{apart}{more}')

def beside(
    widths # of panels, in pixels
)->list: # the share of the column that each gets
    "Panels side by side where there is room, all by one measure"
    if not widths: return []
    lines = [[]]
    def room(line): return column*(1-gap*(len(line)-1)) # for the panels of a line
    for w in widths:
        if lines[-1] and least*sum(more := [*lines[-1], w]) > room(more): lines.append([])
        lines[-1].append(w)
    by = min(1, *(room(l)/sum(l) for l in lines))
    return [int(1000*by*w/column)/1000 for w in widths] # no line is a hair too long

def key(svg): return hashlib.sha256(svg.strip()).hexdigest()

def size(file):
    "Of a picture, in pixels of the page; letters of an SVG may grow by a quarter"
    if file.suffix!='.svg': return Image.open(file).size
    return [1.25*v for v in size_of(file.read_bytes())]
