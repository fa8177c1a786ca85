"""The site, built from the stored outputs and driven in a real browser: no errors, no requests to
the outside, links that lead somewhere, sliders, search, contrast, phones"""
import functools, http.server, json, os, re, shutil, subprocess, sys, threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
import pytest
from filelock import FileLock

repo = Path(__file__).resolve().parents[1]
chromium = os.environ.get('CHROMIUM') or next(filter(None,
    map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
flags = ('--no-sandbox --disable-gpu --disable-quic --no-first-run '
    '--disable-background-networking --disable-component-update --disable-sync').split()

@pytest.fixture(scope='module')
def html(tmp_path_factory, worker_id):
    "The built site, once for all processes; any warning of Sphinx fails it"
    pytest.importorskip('sphinx')
    base = tmp_path_factory.getbasetemp() # xdist: a folder per process, in a common one
    out = (base if worker_id=='master' else base.parent)/'site'
    with FileLock(f'{out}.lock'):
        if not out.exists():
            r = subprocess.run([sys.executable, 'tools/blog.py', '--out', str(out)], cwd=repo,
                capture_output=True, text=True)
            out.mkdir(exist_ok=True)
            (out/'said').write_text(f'{r.returncode}\n{r.stderr}', encoding='utf-8')
    code,said = (out/'said').read_text(encoding='utf-8').split('\n', 1)
    assert code=='0', said[-4000:]
    assert 'WARNING' not in said
    return out/'html'

@pytest.fixture(scope='module')
def pages(html):
    return sorted(str(p.relative_to(html)) for p in html.rglob('*.html')
        if '_static' not in p.parts)

class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links,self.ids,self.images,self.figures,self.captions = [],set(),[],0,0
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if a.get('id'): self.ids.add(a['id'])
        if tag=='a' and a.get('href'): self.links.append(a['href'])
        if tag in ('img', 'script') and a.get('src'): self.links.append(a['src'])
        if tag=='link' and a.get('href'): self.links.append(a['href'])
        if tag=='img': self.images.append(a)
        self.figures += tag=='figure'; self.captions += tag=='figcaption'

@pytest.fixture(scope='module')
def parsed(html, pages): return {p: Page((html/p).read_text(encoding='utf-8')) for p in pages}

def test_every_chapter_and_module_has_a_page(html, pages):
    for nb in (repo/'nbs').glob('[0-9]*.ipynb'): assert f'{nb.stem}.html' in pages
    for m in (repo/'forgetprune').glob('[a-z]*.py'):
        if m.stem!='all': assert f'api/{m.stem}.html' in pages, m.stem

def test_links_and_anchors_lead_somewhere(html, parsed):
    bad = []
    for name,page in parsed.items():
        for link in page.links:
            if urlsplit(link).scheme in ('http', 'https', 'mailto', 'data', 'javascript'): continue
            path,anchor = urldefrag(urljoin(name, unquote(link)).split('?')[0])
            path = path or name
            if not (html/path).is_file(): bad.append((name, link))
            elif anchor and path in parsed and anchor not in parsed[path].ids:
                bad.append((name, link))
    assert not bad, bad[:10]

def test_figures_have_captions_and_pictures_have_words(parsed):
    for name,page in parsed.items():
        assert page.figures==page.captions, name
        for i in page.images:
            assert len(i.get('alt') or '') > 15 or i.get('src', '').startswith('data:image/svg'), (
                name, i.get('src', '')[:80])
    pictures = {n: sum('_images' in i.get('src', '') for i in p.images) for n,p in parsed.items()}
    assert all(pictures[n] <= parsed[n].figures
        for n in pictures), 'a picture without a caption: `#| fig-cap:`'
    assert sum(pictures.values()) > 30

def test_module_pages_are_the_same_each_time(html):
    for page in (html/'api').glob('*.html'):
        text = page.read_text(encoding='utf-8')
        assert not re.search(r'object at 0x|OptionInfo|ArgumentInfo|&lt;function', text), page.name

def test_chapters_say_when_and_how_long(html, parsed):
    for name in parsed:
        if re.match(r'\d\d', name):
            assert re.search(r'\d{1,2} \w+ 20\d\d · \d+ min to read',
                (html/name).read_text(encoding='utf-8')), name

def test_notebooks_run_in_jupyter_as_they_are():
    for nb in (repo/'nbs').glob('*.ipynb'):
        d = json.loads(nb.read_text(encoding='utf-8'))
        assert d['metadata']['kernelspec']['name']=='python3', nb.name
        first = next(''.join(c['source']) for c in d['cells'] if c['cell_type']=='code'
            and not re.fullmatch(r'#\| default_exp \w+\s*', ''.join(c['source'])))
        assert re.search(r'^(import|from) ', first, re.M), nb.name

def test_names_and_numbers_become_links(html):
    def article(name):
        return re.search(r'<article.*?</article>', (html/name).read_text(encoding='utf-8'), re.S)[0]
    of = lambda name,what: len(re.findall(rf'href="{what}', article(name)))
    import blog
    known,total = {n for found in blog.symbols().values() for n in found},0
    # every name of ours that the prose of a chapter has, once per cell, outside of tables and
    # headings
    for nb in (repo/'nbs').glob('[0-9]*.ipynb'):
        prose = [re.sub(r'^[#|].*$|```.*?```|\[[^\]]*\]\([^)]*\)', '', ''.join(c['source']),
            flags=re.M) for c in json.loads(nb.read_text(encoding='utf-8'))['cells']
            if c['cell_type']=='markdown']
        said = sum(len({n for n in re.findall(r'`([A-Za-z_][\w.]*)(?:\([^`]*\))?`', p)
            if n in known}) for p in prose)
        total += said
        assert of(f'{nb.stem}.html', 'api/')==said, nb.stem
    assert total > 30 and of('start.html', 'api/') >= 1
    assert of('26_recycling.html', r'\d\d\w*\.html') >= 5 and of('start.html', '15_suppressed') >= 1
    assert sum(of(f'{n.stem}.html', 'references.html#')
        for n in (repo/'nbs').glob('[0-9]*.ipynb')) >= 8

def test_what_the_module_pages_hold(html):
    text = {m: (html/'api'/f'{m}.html').read_text(encoding='utf-8')
        for m in ('cut', 'rivals', 'forget_command', 'audit')}
    assert 'id="api-cut-cut-load"' in text['cut']
    assert 'id="api-rivals-criteria"' in text['rivals']
    assert 'id="api-audit-audit-to-dict"' in text['audit']
    assert 'Class to forget' in text['forget_command']
    assert 'inherited' not in text['forget_command']

def test_every_page_knows_the_feed_and_what_it_is_about(html, pages):
    for p in pages:
        head = (html/p).read_text(encoding='utf-8').split('</head>')[0]
        assert 'application/atom+xml' in head and '<meta name="description"' in head, p
        assert (html/p).parent.joinpath(re.search(r'atom\+xml"[^>]*href="([^"]+)"',
            head)[1]).resolve().is_file()

def test_figures_open_in_full_size(html, parsed):
    assert sum('_images/' in l and l.endswith('.png')
        for l in parsed['11c_does_it_hold.html'].links) > 5
    assert re.search(r'<a class="full" href="[^"]*_images/[^"]*"><img',
        (html/'11_class_pruning.html').read_text(encoding='utf-8'))

def blog(*args):
    return subprocess.run([sys.executable, 'tools/blog.py', *args], cwd=repo, capture_output=True,
        text=True)

def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path/'src').mkdir(); (tmp_path/'src/mine.py').write_text('mine')
    r = blog('--out', str(tmp_path))
    assert r.returncode==1 and 'has not made' in r.stderr
    assert (tmp_path/'src/mine.py').read_text()=='mine' and 'Traceback' not in r.stderr

@pytest.mark.parametrize('spoil,msg', [(lambda nb: '{', 'is no notebook'),
    (lambda nb: _without(nb, 'A full run takes'), 'does not say when'),
    (lambda nb: _without(nb, '# Data'), 'title and a summary'), (lambda nb: _no_outputs(nb),
    'no stored output')])
def test_broken_notebooks_are_named(spoil, msg, tmp_path):
    name = '01_data' if 'output' not in msg else '13_output_values'
    shutil.copytree(repo, tmp_path/'r', ignore=shutil.ignore_patterns('.git', '.venv', '_site',
        '.pytest_cache'))
    f = tmp_path/'r/nbs'/f'{name}.ipynb'
    f.write_text(spoil(json.loads(f.read_text(encoding='utf-8'))), encoding='utf-8')
    r = subprocess.run([sys.executable, 'tools/blog.py', '--out', str(tmp_path/'o')],
        cwd=tmp_path/'r', capture_output=True, text=True)
    assert r.returncode==1 and msg in r.stderr and name in r.stderr and 'Traceback' not in r.stderr

def _without(nb, text):
    for c in nb['cells']: c['source'] = [l for l in c['source'] if text not in l]
    return json.dumps(nb)

def _no_outputs(nb):
    for c in nb['cells']: c.update({'outputs': []} if c['cell_type']=='code' else {})
    return json.dumps(nb)

def test_feed(html, pages):
    import xml.etree.ElementTree as E
    a = '{http://www.w3.org/2005/Atom}'
    entries = E.parse(html/'feed.xml').getroot().findall(a+'entry')
    assert len(entries)==len([p for p in pages if re.match(r'\d\d', p)])
    assert all((html/e.find(a+'link').get('href')).is_file() and e.find(a+'summary').text
        for e in entries)

# ---- in a browser

@pytest.fixture(scope='module')
def base(html):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet,
            directory=str(html))) as s:
        threading.Thread(target=s.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{s.server_port}/'
        s.shutdown()

@pytest.fixture(scope='module')
def browser():
    api = pytest.importorskip('playwright.sync_api')
    if not chromium:
        pytest.skip('no Chromium here; install one (Debian: chromium) or name it in CHROMIUM')
    with api.sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium, args=flags)
        yield b
        b.close()

@pytest.fixture
def opened(browser, base):
    "Opens a page, with what went wrong in `.wrong`"
    contexts = []
    def f(url, width=1280, theme='light', wait='load'):
        c = browser.new_context(viewport=dict(width=width, height=900), color_scheme=theme)
        contexts.append(c)
        p = c.new_page()
        p.set_default_timeout(120_000) # three browsers on two cores begin at once
        p.wrong = []
        p.on('console', lambda m: m.type=='error' and p.wrong.append(m.text))
        p.on('pageerror', lambda e: p.wrong.append(str(e)))
        p.on('requestfailed', lambda r: p.wrong.append(f'failed: {r.url}'))
        p.on('request', lambda r: r.url.startswith((base, 'data:', 'blob:'))
            or url.startswith('file:') or p.wrong.append(f'outside: {r.url}'))
        p.goto(url if '://' in url else base+url, wait_until=wait)
        return p
    yield f
    for c in contexts: c.close()

alike = """() => {
    const seen = new Set()
    for (const s of document.querySelectorAll('.highlight span')) {
        const like = s.className + ' in ' + s.parentElement.className
        if (!seen.has(like)) seen.add(like)
        else if (!s.children.length) s.remove()
    }
    const plain = [...document.querySelectorAll('div.cell')]
        .filter(c => !c.querySelector('.cell_output'))
    for (const c of plain.slice(6)) c.remove()
}"""

def faults(axe, p, **options):
    "Serious faults that axe finds on a page as it is: their names, and where the first one is"
    # colours are written by script, and fade, which would take a third of a second
    p.add_style_tag(content='* { transition: none !important; animation: none !important }')
    p.wait_for_function("document.documentElement.dataset.theme && "
        "document.getAnimations().every(a => a.playState!='running')")
    p.evaluate(alike) # of thousands of words of code one of each kind stays, of cells a few
    found = axe.run(p, options=dict(preload=False, resultTypes=['violations'], **options))
    return [(v['id'], v['nodes'][0]['html'][:200]) for v in found.response['violations']
        if v['impact'] in ('serious', 'critical')]

@pytest.mark.slow
@pytest.mark.parametrize('part', range(12))
def test_pages_have_no_errors_fit_a_phone_and_can_be_read_by_all(opened, pages, part):
    "Every page; in dark colours, which differ in colours only, those that are not made alike"
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    for name in pages[part::12]:
        p = opened(name, width=375)
        p.wait_for_timeout(50)
        assert not p.wrong, (name, p.wrong)
        assert p.evaluate('document.documentElement.scrollWidth') <= 375, name
        p.set_viewport_size(dict(width=1280, height=900))
        assert not (found := faults(axe, p)), (name, found)
        if not name.startswith('api/') or name=='api/forget.html':
            p.emulate_media(color_scheme='dark')
            p.wait_for_function("document.documentElement.dataset.theme=='dark'")
            p.wait_for_timeout(100)
            found = faults(axe, p, runOnly=['color-contrast'])
            assert not found, (name, 'dark', found)
        p.context.close()

def test_a_fault_is_found(opened):
    "The measure itself: grey on grey in a word of code, and a picture without words"
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    p = opened('api/cut.html')
    p.evaluate("""() => { document.querySelector('.highlight span.n').style.color = '#ddd';
        document.querySelector('article').appendChild(new Image()).src = 'x.png' }""")
    assert {'color-contrast', 'image-alt'} <= {n for n,_ in faults(axe, p)}

def test_the_button_changes_the_theme(opened):
    p = opened('index.html')
    back = lambda: p.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--pst-color-background')")
    seen = {back()}
    for mode in ('dark', 'light', 'auto'):
        # a menu in newer themes, the next mode in older ones
        p.locator('button.theme-switch-button:visible').first.click()
        if p.locator('button.theme-change-button').count():
            p.locator(f'button.theme-change-button[data-mode={mode}]').click()
        p.wait_for_timeout(50)
        seen.add(back())
    assert len(seen)==2

def test_search_finds_a_chapter(opened):
    p = opened('search.html?q=recycling')
    # results come one by one
    p.wait_for_selector('#search-results ul.search li a[href*="26_recycling"]', timeout=20_000)

def test_search_quotes_the_text(opened):
    p = opened('search.html?q=midpoint')
    p.wait_for_selector('#search-results li:has(a[href*="23_midpoint"]) p.context', timeout=20_000)
    quoted = p.locator('#search-results p.context').all_text_contents()
    assert quoted and not [q for q in quoted if 'Contents' in q], quoted

def slide(p):
    s = p.locator('input[type=range]').first
    picture = lambda: p.locator('.animation img').first.get_attribute('src')
    s.scroll_into_view_if_needed()
    before = picture()
    s.focus(); p.keyboard.press('ArrowRight'); p.wait_for_timeout(100)
    one = picture()
    p.keyboard.press('End'); p.wait_for_timeout(100)
    assert len({before, one, picture()})==3

def test_a_slider_moves_the_picture_by_keyboard(opened): slide(opened('13_output_values.html'))
def test_a_slider_moves_from_the_file_system(opened, html):
    slide(opened((html/'13_output_values.html').as_uri()))

def test_next_and_previous(opened):
    p = opened('11_class_pruning.html')
    p.locator('a.right-next').click(); p.wait_for_load_state()
    assert '11b_rivals' in p.url
    p.locator('a.left-prev').click(); p.wait_for_load_state()
    assert '11_class_pruning' in p.url

def test_copy_buttons(opened):
    assert opened('26_recycling.html').locator('button.copybtn').count() > 20
