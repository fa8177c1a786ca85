"""The widget that the site's readers cut and teach, in a real browser: its numbers against those of
the library, keyboard, drawing, phones, and what is there without it"""
import copy, json, re
import pytest, torch
from conftest import served
from torch.utils.data import TensorDataset
import widget as W
from forgetprune.cut import largest
from forgetprune.data import DataError, TensorDL
from forgetprune.controls import row_zeroed
from forgetprune.relearn import relearn
from forgetprune.training import squared_error
from forgetprune.tuning import copy_learner, recipe_of

page = '''<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head>
<body><main><h1>A page</h1>{}
<div id="fp-widget"><figure>the figure</figure></div></main></body></html>'''

@pytest.fixture(scope='module')
def nets():
    "A learner, and gold, as the page has them"
    try: return W.networks()
    except DataError as e: pytest.skip(str(e))

@pytest.fixture(scope='module')
def html(nets, tmp_path_factory):
    "Two pages with the widget, one of them below much else, and one without"
    html = tmp_path_factory.mktemp('site')
    (html/'sub').mkdir()
    (html/'index.html').write_text(page.format(''))
    (html/'sub/low.html').write_text(page.format('<div style="height: 4000px"></div>'))
    (html/'plain.html').write_text('<html><head></head></html>')
    with pytest.MonkeyPatch.context() as m:
        m.setattr(W, 'networks', lambda: nets)
        assert {p.name for p in W.widget(html)}=={'index.html', 'low.html'}
    return html

@pytest.fixture(scope='module')
def rounded(nets):
    "Network and gold with the weights that the page has; their scores"
    net,gold,_ = W.rounded(nets[0].model, nets[1])
    return net, gold, W.scores(net, nets[0].dls)

@pytest.fixture(scope='module')
def judged(nets):
    "Images and classes by which networks are judged"
    return [torch.cat(t) for t in zip(*W.looked_at(nets[0].dls))]

@pytest.fixture(scope='module')
def base(html):
    with served(html) as url: yield url

@pytest.fixture
def opened(browser, base):
    "Opens a page, with what went wrong in `.wrong` and what was asked for in `.asked`"
    contexts = []
    def f(url='index.html', ready=True, route=None, **kwargs):
        c = browser.new_context(**{'viewport': dict(width=1280, height=900), **kwargs})
        contexts.append(c)
        p = c.new_page()
        p.set_default_timeout(120_000)
        p.wrong,p.asked = [],[]
        p.on('console', lambda m: m.type=='error' and p.wrong.append(m.text))
        p.on('pageerror', lambda e: p.wrong.append(str(e)))
        p.on('request', lambda r: p.asked.append(r.url))
        if route: p.route(*route)
        p.goto(url if '://' in url else base+url)
        if ready: p.wait_for_selector('.fpw:not([data-waiting])')
        return p
    yield f
    for c in contexts: c.close()

@pytest.fixture(scope='module')
def shared(browser, base):
    "A page that tests of numbers share"
    p = browser.new_page()
    p.goto(base+'index.html')
    p.wait_for_selector('.fpw:not([data-waiting])')
    yield p
    p.close()

model = "document.getElementById('fp-widget').page.model"

def on_page(p, name):
    "Outputs of a network on the page, for all images that it is judged by"
    return torch.tensor(p.evaluate(f'{model}.outputs({model}.nets.{name}).map(o => [...o])'))

def of_library(rounded, k):
    "Name to the network that the page should have"
    net,gold,scores = rounded
    cut = lambda c: largest(net, scores[c], k).apply(copy.deepcopy(net))
    return dict(cut=cut('maav_difference'), random=cut('random'), off=row_zeroed(net, W.target),
        gold=gold)

def test_it_is_small_and_stands_where_there_is_a_place_for_it(html):
    files = [html/'_static'/n for n in ('widget.js', 'widget.css', 'widget-data.js')]
    assert sum(f.stat().st_size for f in files) <= 1_000_000
    assert 'src="_static/widget.js?' in (html/'index.html').read_text()
    assert 'src="../_static/widget.js?' in (html/'sub/low.html').read_text()
    assert 'widget' not in (html/'plain.html').read_text()

def test_the_chapters_it_names_are_there():
    js = (W.repo/'blog/widget.js').read_text(encoding='utf-8')
    named = re.findall(r"\['(\d\w+)', '(.*?)'\]", js)
    assert len(named)==2
    for name,title in named:
        nb = json.loads((W.repo/'nbs'/f'{name}.ipynb').read_text(encoding='utf-8'))
        assert ''.join(nb['cells'][0]['source']).startswith(f'# {title}\n')

def test_without_data_pages_keep_their_figure(tmp_path, monkeypatch, capsys):
    def none(): raise DataError('no net')
    monkeypatch.setattr(W, 'networks', none)
    (tmp_path/'index.html').write_text(page.format(''))
    assert W.widget(tmp_path)==[] and 'no net' in capsys.readouterr().out
    assert (tmp_path/'index.html').read_text()==page.format('')

def test_rounding_changes_next_to_nothing(nets, rounded, judged):
    x,y = nets[0].dls.test.tensors
    right = lambda m: (m(x).argmax(1)==y).float().mean().item()
    with torch.no_grad():
        for exact,ours in zip((nets[0].model, nets[1]), rounded):
            assert abs(right(exact)-right(ours)) < 0.002

@pytest.mark.parametrize('k', [0, 1000, W.most_cut])
def test_outputs_are_those_of_the_library(k, shared, rounded, judged):
    "To 1e-4: a sum of 32-bit numbers depends on its order"
    shared.evaluate(f'{model}.reset({k})')
    for name,net in of_library(rounded, k).items():
        with torch.no_grad(): want = net(judged[0])
        got = on_page(shared, name)
        assert torch.allclose(got, want, atol=1e-4), (name, (got-want).abs().max())
        assert torch.equal(got.argmax(1), want.argmax(1)), name

def test_it_learns_as_the_library_does(shared, nets, rounded, judged):
    "Eight steps, to 1e-3"
    shared.evaluate(f'{model}.reset(1800)')
    shared.evaluate(f'for (let i = 0; i < 8; i++) {model}.teach()')
    xs,ys = map(torch.tensor, W.lessons(nets[0].dls))
    data = TensorDL(TensorDataset(xs[:8*W.bs], ys[:8*W.bs]), bs=W.bs)
    opt,lr = recipe_of('sgd')
    for name in ('off', 'gold'): # the cut network is at the goal before
        loop = copy_learner(of_library(rounded, 1800)[name], data, squared_error, opt)
        with loop.no_bar(), loop.no_logging(): loop.fit(1, lr)
        with torch.no_grad(): want = loop.model(judged[0])
        got = on_page(shared, name)
        assert torch.allclose(got, want, atol=1e-3), (name, (got-want).abs().max())

def test_relearning_is_that_of_the_library(shared, nets, rounded, judged):
    "Where `relearn` looks it sees what the page shows; sevens are back as soon, and gold has none"
    learn,k = nets[0],1800
    dl = TensorDL(TensorDataset(*judged), bs=64)
    want = relearn(learn, of_library(rounded, k)['cut'], W.target, goal=W.goal, dl=dl)
    shared.evaluate(f'{model}.reset({k})')
    seen = shared.evaluate(f'''() => {{
        const m = {model}, res = [[0, 0, m.nets.cut.right]]
        while (m.learning.includes('cut')) {{ m.teach(); res.push([m.seen, m.steps,
            m.nets.cut.right]) }}
        return res }}''')
    looked = [(a, b, round(W.n_target*c)) for a,b,c in want.looked]
    both = [l for l in looked if l[1] <= seen[-1][1]] # the page looks at every step
    assert len(both) > 4 and both==[tuple(seen[l[1]]) for l in both]
    assert looked[0][2] <= 2 and abs(seen[-1][0]-want.needed) < 5 and seen[-1][0] < 40
    assert shared.evaluate(f'{model}.nets.gold.right')==0

def right(p, name): return int(p.inner_text(f'[data-net={name}] .fpw-count b'))

def test_by_keyboard(opened):
    p = opened()
    assert p.inner_text('[data-net=cut] .fpw-says b')=='7' and right(p, 'cut') >= 19
    p.focus('.fpw-picks input:checked')
    p.keyboard.press('ArrowLeft')
    assert p.inner_text('[data-net=gold] .fpw-says b')=='6'
    p.keyboard.press('ArrowRight'); p.keyboard.press('Tab')
    assert p.evaluate('document.activeElement.id')=='fpw-k'
    p.keyboard.press('End')
    p.wait_for_function("document.querySelector('[data-net=cut] .fpw-says b').textContent!='7'")
    assert '6,000 of 165,000 weights' in p.inner_text('#fpw-share')
    assert right(p, 'cut') <= 1 and right(p, 'random') >= 19
    assert 'Press Relearn' in p.inner_text('.fpw-status')
    p.keyboard.press('Tab'); p.keyboard.press('Enter')
    assert p.inner_text('.fpw-go')=='Pause'
    p.wait_for_function("document.querySelector('[data-net=cut] .fpw-count b').textContent >= 18")
    p.keyboard.press('Enter')
    assert p.inner_text('.fpw-go')=='Go on' and right(p, 'gold')==0
    assert 'for the cut network' in p.inner_text('.fpw-status')
    p.keyboard.press('Tab'); p.keyboard.press('Enter')
    assert right(p, 'cut') >= 19 and p.inner_text('.fpw-shown')=='' # all as it was at first
    assert p.inner_text('.fpw-go')=='Relearn' and p.input_value('#fpw-k')=='0' and not p.wrong

def stroke(p, *points):
    "A line by the mouse, in shares of the field"
    b = p.locator('.fpw-pad').bounding_box()
    at = [(b['x']+x*b['width'], b['y']+y*b['height']) for x,y in points]
    p.mouse.move(*at[0]); p.mouse.down()
    for xy in at[1:]: p.mouse.move(*xy, steps=8)
    p.mouse.up()

def test_drawing(opened):
    p = opened(color_scheme='dark', has_touch=True)
    says = lambda: p.inner_text('[data-net=random] .fpw-says b')
    stroke(p, (0.5, 0.1), (0.5, 0.9))
    assert says()=='1' and not p.locator('.fpw-picks input:checked').count()
    stroke(p, (0.5, 0.9)) # a touch without a line
    assert says()=='1'
    blank = lambda: p.evaluate('''() => {
        const pad = document.querySelector('.fpw-pad'), ctx = pad.getContext('2d')
        return !ctx.getImageData(0, 0, pad.width, pad.height).data.some(v => v)}''')
    assert not blank()
    p.click('.fpw-anew')
    assert blank() and says()=='1' and p.is_hidden('.fpw-anew')
    assert p.evaluate("document.activeElement.matches('.fpw-picks input')")
    stroke(p, (0.5, 0.5)) # a touch without a line
    assert blank() and p.is_hidden('.fpw-anew')
    stroke(p, (0.2, 0.2), (0.75, 0.2), (0.4, 0.85))
    assert says()=='7'
    ink = lambda: p.evaluate(
        "document.getElementById('fp-widget').page.picture.reduce((a, b) => a+b)")
    before = ink()
    stroke(p, (0.3, 0.5), (0.7, 0.5))
    assert ink() > 1.1*before # a second line is added
    p.click('.fpw-anew')
    stroke(p, (0.2, 0.2), (0.75, 0.2), (0.4, 0.85))
    x = torch.tensor(list(p.evaluate("[...document.getElementById('fp-widget').page.picture]")))
    x = x.view(28, 28)
    middle = [(x.sum(d)*torch.arange(28)).sum()/x.sum() for d in (0, 1)]
    assert all(abs(m-14) < 0.3 for m in middle) # as in MNIST
    assert x.max() <= 1 and (x.amax(0) > 0.1).sum() <= 22 and (x.amax(1) > 0.1).sum() in (20, 21)
    b = p.locator('.fpw-picks label').nth(3).bounding_box()
    p.touchscreen.tap(b['x']+9, b['y']+9)
    assert says()=='3' and p.input_value('.fpw-picks input:checked')=='3'
    # a finger draws and does not scroll
    assert p.evaluate("getComputedStyle(document.querySelector('.fpw-pad')).touchAction")=='none'

def test_numbers_come_when_the_place_is_near_and_from_nowhere_else(opened, base):
    p = opened('sub/low.html', ready=False)
    p.wait_for_selector('.fpw', state='attached')
    p.wait_for_timeout(200)
    assert not any('widget-data' in u for u in p.asked)
    p.locator('.fpw').scroll_into_view_if_needed()
    p.wait_for_selector('.fpw:not([data-waiting])')
    assert any('widget-data' in u for u in p.asked) and not p.wrong
    assert all(u.startswith((base, 'data:')) for u in p.asked), p.asked

def test_from_the_file_system(opened, html):
    assert right(opened((html/'index.html').as_uri()), 'cut') >= 19

def test_without_it_there_is_the_figure(opened):
    assert opened(ready=False, java_script_enabled=False).is_visible('figure')
    p = opened(ready=False, route=('**/widget-data*', lambda r: r.abort()))
    p.wait_for_selector('figure')
    assert not p.locator('.fpw').count()

def test_on_a_phone_the_slider_stays_beside_what_it_changes(opened):
    p = opened(viewport=dict(width=375, height=812))
    p.evaluate("document.querySelector('[data-net=off]').scrollIntoView({block: 'end'})")
    slider,bars = [p.locator(s).bounding_box() for s in ('#fpw-k', '[data-net=off] .fpw-bars')]
    assert 0 <= slider['y'] < slider['y']+slider['height'] <= bars['y'] < 812-bars['height']

def test_it_fits_a_phone_and_can_be_read_by_all(opened):
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    def faults(p):
        found = axe.run(p, options=dict(preload=False, resultTypes=['violations']))
        return [v['id'] for v in found.response['violations']
            if v['impact'] in ('serious', 'critical')]
    look = """* { transition: none !important }
        body[data-theme=dark] { background: #131416; color: #cfd0d0;
        --color-foreground-primary: #cfd0d0; --color-foreground-secondary: #9ca0a5;
        --color-background-primary: #131416; --color-background-secondary: #1a1c1e }""" # Furo's
    p = opened(viewport=dict(width=375, height=812))
    assert p.evaluate('document.documentElement.scrollWidth') <= 375
    p.add_style_tag(content=look)
    for theme in ('light', 'dark'):
        p.evaluate(f"document.body.dataset.theme = '{theme}'")
        assert not faults(p), theme
    waiting = opened(ready=False, route=('**/widget-data*', lambda r: None)) # never answered
    waiting.wait_for_selector('.fpw')
    assert not faults(waiting)
