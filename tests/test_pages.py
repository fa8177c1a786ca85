"Reports: the answer first, by names, with the right pictures, and nothing that asks for a network"
import base64, io, json, re
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser
import numpy as np, pandas as pd, pytest, torch
from PIL import Image
from forgetprune.cli import main
from forgetprune.data import get_dls
from forgetprune.classes import class_split
from forgetprune.figures import finished
from forgetprune.networks import load_model, mlp, save_model
from forgetprune.pages import answers_to
from forgetprune.report import as_pictures, report_html, report_section, room_for

def run(*args):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        with pytest.raises(SystemExit) as e: main(list(map(str, args)))
    assert not e.value.code, err.getvalue()
    return out.getvalue()

class Seen(HTMLParser):
    "Text by element, pictures, and whatever could ask for a file"
    def __init__(self, page):
        super().__init__()
        self.open,self.texts,self.images,self.asks,self.names = [],[],[],[],[]
        self.feed(page)
        assert not self.open, self.open
    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.names.append(tag)
        if tag=='img': self.images.append(a)
        self.asks += [v for k,v in attrs if k in ('src', 'href') and v[:5]!='data:' and v[0]!='#']
        if tag not in ('img', 'meta', '!doctype'): self.open.append((tag, a.get('id')))
    def handle_endtag(self, tag):
        assert self.open.pop()[0]==tag
    def handle_data(self, text): self.texts.append((tuple(self.open), text))
    def within(self, *, tag=None, id=None):
        return ' '.join(t for at,t in self.texts if any(n==tag or i and i==id for n,i in at))

arch = dict(name='mlp', sizes=(64, 24, 20, 10))
@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A run with a network that was trained for a moment"
    d = tmp_path_factory.mktemp('pages')
    torch.manual_seed(0)
    net,(x,y) = mlp(arch['sizes']),get_dls('digits', bs=32, seed=0).train.dataset.tensors
    opt = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        torch.nn.functional.cross_entropy(net(x), y).backward()
        opt.step(); opt.zero_grad()
    save_model(net, d/'net.safetensors', arch=arch, seed=0, data='digits')
    said = run('forget', '--data', 'digits', '--model', d/'net.safetensors', '--target', 3, '--k',
        60, '--out', d/'run')
    return d, said, json.loads((d/'run'/'result.json').read_text()), (
        d/'run'/'report.html').read_text()

def test_the_answer_is_first(made):
    _,said,res,page = made
    seen,acc = Seen(page),res['accuracy']['test']
    answer = seen.within(id='answer')
    assert re.match(r"\S[^:]*: of the test images of '3', the network gets", answer)
    for row in acc: assert f'{acc[row]["target"]:.1%}' in answer, row
    assert f'{acc["cut"]["retain"]:.1%}' in answer
    order = [page.index(s) for s in ('<h1>', 'id="answer"', '<img', '<table>', '<details>')]
    assert order==sorted(order)
    assert answer.split('.')[0] in said # the terminal says the same
    assert said.index('of the test images') < said.index('as trained')

def test_settings_are_folded_and_by_name(made):
    _,_,res,page = made
    seen = Seen(page)
    folded = seen.within(tag='details')
    for s in ('criterion', 'maav_difference', 'budget', '(validation, %)', 'per layer'):
        assert s in folded
    assert ' open' not in page[page.index('<details'):][:9] and page.count('<details>')==3
    assert '<dt>target</dt><dd>3</dd>' in page and 'None' not in folded and '{' not in folded
    above = page[:page.index('<details>')]
    assert 'maav_difference' not in above and 'seed' not in seen.within(tag='p')

def strip_of(page):
    "Pictures of the strip, with their names before and after"
    items = re.findall(r'<li><img src="data:image/png;base64,(.*?)" alt="called (.*?), then (.*?)">'
        r'(.*?) → <b>(.*?)</b></li>', page)
    assert all((a, b)==(c, d) for _,a,b,c,d in items)
    return [(np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))), a, b)
        for png,a,b,_,_ in items]

def test_the_pictures_are_those_that_changed_their_name(made):
    d,_,_,page = made
    t,_ = class_split(get_dls('digits', bs=32, seed=0).test, 3)
    names = [answers_to(load_model(f)[0], t) for f in (d/'net.safetensors',
        d/'run'/'model.safetensors')]
    changed = (names[0]!=names[1]).nonzero().flatten()
    strip,pictures = strip_of(page),as_pictures(t.tensors[0])
    assert 3 < len(strip)==min(12, len(changed))
    for (shown,*called),i in zip(strip, changed):
        assert called==[str(int(n[i])) for n in names] and (shown==pictures[i]).all()
    assert f'Of {len(names[0])} test images of \'3\', {len(changed)} changed their name' in page

def test_it_asks_for_nothing_and_every_picture_says_what_it_shows(made):
    _,_,_,page = made
    seen = Seen(page)
    assert seen.asks==[] and 'script' not in seen.names
    assert 'http' not in page and 'url(' not in page
    assert all(len(i['alt']) > 10 for i in seen.images)
    alts = [i['alt'] for i in seen.images if 'svg' in i['src'][:20]]
    assert len(alts)==3==len(set(alts)), alts # the bars, and a panel for each accuracy
    svg = base64.b64decode(next(i['src'] for i in seen.images if 'svg' in i['src'][:20])[26:])
    assert b'<svg' in svg and b'<image' not in svg and b'href="http' not in svg

odd = '''<b>"x" & 'y' ü $\\frac{$'''
def test_names_are_escaped_everywhere():
    import matplotlib.pyplot as plt
    from forgetprune.figures import literal
    fig,ax = plt.subplots()
    ax.set_title(literal(odd))
    plt.close(fig)
    page = report_html(odd, [odd, [odd], {odd: odd}, pd.DataFrame({odd: [odd]}, [odd]), (fig, odd),
        (b'png', odd)], [odd, room_for('more', odd)], {odd: [odd]})
    page = report_section(page, 'more', odd, [odd], [odd, odd])
    seen = Seen(page)
    assert '<b>"' not in page
    for at in ('h1', 'h2', 'p', 'li', 'dt', 'dd', 'th', 'td', 'figcaption', 'summary', 'title'):
        assert odd in seen.within(tag=at), at
    assert [i['alt'] for i in seen.images]==[odd, odd]

def test_an_audit_speaks_in_the_answer(made):
    _,_,_,page = made
    def more(word): return report_section(page, 'audit', f'Audit: {word}', ['why'], [word, 'So.'])
    twice = report_section(more('erased'), 'audit', 'Audit: unclear', ['why not'], ['unclear'])
    answer = Seen(twice).within(id='answer')
    assert 'unclear' in answer and 'erased' not in answer and 'does not say' not in answer
    assert twice.count('id="audit"')==1==twice.count('href="#audit"') and 'why not' in twice
    assert twice.index('id="audit"') < twice.index('<details>')
    edited = '<html><body>Mine.</body></html>' # a page of which little is left
    assert report_section(edited, 'audit', 'A', ['b'], ['c']).count('id="audit"')==1

def test_a_figure_becomes_panels_and_stays_whole():
    import matplotlib.pyplot as plt
    fig,axs = plt.subplots(1, 3, figsize=(12, 3), sharey=True)
    for i,ax in enumerate(axs): ax.plot([0, 1], label='a')[0].axes.set(xlabel=f'x{i}')
    axs[0].set_ylabel('y')
    axs[2].twinx().plot([1, 0])
    axs[1].axis('off')
    fig.legend(['a'])
    page = report_html('t', [(finished(fig), 'c')])
    assert [i['alt'] for i in Seen(page).images]==['key: a', 'y against x0', 'y against x2']
    assert all(ax.get_visible() for ax in fig.axes)
    assert report_html('t', [(fig, 'c')])==report_html('t', [(fig, 'c')]) # to the byte

def test_recycling_and_magnitudes(tmp_path):
    out = run('recycle', '--steps', 30, '--bs', 4, '--d-model', 8, '--heads', 2, '--layers', 1,
        '--d-ff', 20, '--every', 10, '--out', tmp_path/'r')
    page,res = (tmp_path/'r'/'report.html').read_text(),json.loads(
        (tmp_path/'r'/'result.json').read_text())
    seen = Seen(page)
    assert f'{res["loss"]:.4f} nats after 30 steps' in seen.within(id='answer')
    assert 'does not say whether recycling helped' in seen.within(id='answer')
    assert f'{res["loss"]:.4f} nats after 30 steps' in out and len(seen.images)==3
    assert 'd_ff' not in page and 'd ff' in seen.within(tag='details') and seen.asks==[]
    assert 'loss after' in seen.within(tag='details') and 'http' not in page
    said = run('magnitudes', tmp_path/'r'/'model.safetensors', '--out', tmp_path/'m')
    page = (tmp_path/'m'/'report.html').read_text()
    assert '20 neurons in 1 block:' in Seen(page).within(id='answer') and 'median' in said

def test_a_logarithmic_axis_has_labels():
    from forgetprune.figures import log_ticks
    for low in (0.11, 0.2, 0.31): # between powers of ten, with or without thrice one of them
        assert log_ticks(np.geomspace(low, 0.8, 5))

@pytest.mark.slow
def test_in_a_browser(made, tmp_path, browser):
    "Nothing runs off the side, in light and dark, and folded parts are printed"
    (tmp_path/'p.html').write_text(made[3])
    for width,theme in ((1280, 'light'), (375, 'dark')):
        page = browser.new_page(viewport=dict(width=width, height=800), color_scheme=theme)
        page.goto((tmp_path/'p.html').as_uri())
        page.evaluate('document.querySelectorAll("details").forEach(d => d.open = true)')
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        inked = 'getComputedStyle(document.body).color'
        assert (page.evaluate(inked)=='rgb(27, 27, 27)')==(theme=='light')
        assert page.locator('#answer').bounding_box()['y'] < 200
    page.evaluate('document.querySelectorAll("details").forEach(d => d.open = false)')
    page.emulate_media(media='print')
    high = 'Math.min(...[...document.querySelectorAll("details")].map(d => d.offsetHeight))'
    assert page.evaluate(high) > 100 and page.evaluate(inked)=='rgb(27, 27, 27)'
    page.close()
