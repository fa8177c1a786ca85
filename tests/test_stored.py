"""How figures are stored in the notebooks, tools/stored.py"""
import json, re
from pathlib import Path
import matplotlib.pyplot as plt
import stored # tools/, see conftest.py
from pictures import beside, gap

repo = Path(__file__).resolve().parents[1]

def drawn(*shape, size=(8, 3)):
    fig,axs = plt.subplots(*shape, figsize=size, squeeze=False)
    for i,ax in enumerate(axs.flat): ax.set(xlabel=f'x{i}', ylabel=f'y{i}', title=f'panel {i}')
    fig.tight_layout()
    plt.close(fig)
    return fig

def output(fig): return dict(data=stored.bundle(fig))

def test_a_figure_is_stored_as_svg_and_png_the_same_each_time():
    a,b = output(drawn(1, 2)),output(drawn(1, 2))
    assert a==b
    ending,svg = stored.picture_of(a)
    assert ending=='svg' and len(svg) < 100_000 and b'<svg' in svg
    width,height = stored.size_of(svg)
    assert 650 < width < 800 and 200 < height < 320 # eight by three inches, cropped
    assert stored.picture_of(dict(data={'image/png': a['data']['image/png']}))[0]=='png'
    assert stored.picture_of(dict(text='no picture')) is None
    assert list(stored.as_picture(a)['data'])==['image/svg+xml']

def test_smaller_changes_no_scale():
    svg = b'<g>\n  <!-- 0.1 -->\n  <path d="M 1.23456 7\nz" transform="scale(0.015625)"/>\n</g>'
    test = '<g>\n<path d="M 1.23 7\nz" transform="scale(0.015625)"/>\n</g>'
    assert stored.smaller(svg).replace('\n\n', '\n')==test

def test_panels_are_taken_apart_where_they_stand_side_by_side():
    said = lambda fig: [says for _,says in stored.panels_of(output(fig))]
    assert said(drawn(1, 2))==['panel 0: y0 against x0', 'panel 1: y1 against x1']
    assert said(drawn(1, 1, size=(4, 3)))==said(drawn(3, 1))==[] # they are narrow already
    assert said(drawn(1, 6))==[] # each too small to be shown alone
    assert said(drawn(5, 2, size=(8, 12)))==[] # too many
    fig = drawn(1, 2)
    fig.axes[0].axis('off') # pictures without axes belong together
    assert said(fig)==[]

def test_a_wide_panel_is_drawn_anew_for_a_phone():
    fig = drawn(1, 1)
    ax = fig.axes[0]
    ax.plot([0, 1], label='a line')
    ax.legend(loc='center')
    whole = output(fig)
    [(svg,says)] = stored.panels_of(whole)
    assert says=='panel 0: y0 against x0'
    assert stored.size_of(svg)[0] < 96*4.6 < stored.size_of(stored.svg_of(whole))[0]
    assert not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent()) # hides no line
    fig = drawn(1, 1)
    fig.axes[0].set_xticks(range(9), ['a long name of a bar']*9) # no room for these on a phone
    assert stored.panels_of(output(fig))==[]

def test_a_panel_has_the_labels_that_it_shared():
    fig,axs = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    axs[0].set(ylabel='height (m)', xlabel='time (s)')
    axs[1].set(xlabel='time (s)')
    plt.close(fig)
    alone = stored.panels_of(output(fig))
    assert [s for _,s in alone]==['height (m) against time (s)']*2
    sizes = [stored.size_of(svg) for svg,_ in alone]
    assert abs(sizes[0][0]-sizes[1][0]) < 4 # both have their own labels

def test_a_figure_that_is_asked_for_twice_is_whole_both_times():
    fig,axs = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    axs[0].set(ylabel='height (m)')
    plt.close(fig)
    first = output(fig)
    assert output(fig)==first
    axs[1].set_title('later')
    assert output(fig)!=first

def test_stored_figures_are_whole():
    "Every SVG can be read, has a size and asks for nothing; there is a PNG for links elsewhere"
    n = 0
    for nb in sorted((repo/'nbs').glob('*.ipynb')):
        for c in json.loads(nb.read_text(encoding='utf-8'))['cells']:
            for o in c.get('outputs', []):
                found = stored.picture_of(o)
                if found is None or found[0]=='png': continue
                n += 1
                assert 'image/png' in o['data'], nb.name
                for svg in [found[1], *(s for s,_ in stored.panels_of(o))]:
                    assert min(stored.size_of(svg)) > 50, nb.name
                    asks = re.findall(rb'(?:href|src)="([^"]{8})', svg)
                    assert all(a.startswith((b'#', b'data:')) for a in asks), nb.name
    assert n > 1

def test_panels_side_by_side_have_one_measure():
    assert beside([])==[] and beside([400])[0] < 0.5
    a,b = beside([450, 520]) # beside each other, and smaller
    assert a+b+gap <= 1 and abs(a/b-450/520) < 0.01 and a+b+gap > 0.99
    a,b = beside([600, 900]) # letters would be too small: one below the other, by the same measure
    assert 0.99 < b <= 1 and abs(a/b-600/900) < 0.01
    assert beside([450, 520, 450])[::2]==[a := beside([450, 520])[0], a]
