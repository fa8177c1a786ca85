"""The site, built from the stored outputs and driven in a real browser: no errors, no requests to
the outside, links that lead somewhere, sliders, search, contrast, phones"""
import json, re, subprocess, sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
import pytest
from conftest import served
import claims, staged # tools/, see conftest.py

repo = Path(__file__).resolve().parents[1]

@pytest.fixture(scope='session')
def html(made_once):
    "The built site, once for all processes; any warning of Sphinx fails it"
    pytest.importorskip('sphinx')
    def make(out):
        r = subprocess.run([sys.executable, 'tools/blog.py', '--out', str(out)], cwd=repo,
            capture_output=True, text=True)
        out.mkdir(exist_ok=True)
        (out/'said').write_text(f'{r.returncode}\n{r.stderr}', encoding='utf-8')
    out = made_once('site', make)
    code,said = (out/'said').read_text(encoding='utf-8').split('\n', 1)
    assert code=='0', said[-4000:]
    assert 'WARNING' not in said
    return out/'html'

@pytest.fixture(scope='session')
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

@pytest.fixture(scope='session')
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

def test_no_line_ends_between_a_number_and_its_unit():
    text = staged.held_together('95 % of it, 4 ± 1 %, and `9 % 4`')
    assert text=='95\xa0% of it, 4\xa0±\xa01\xa0%, and `9 % 4`'

def test_figures_have_captions_and_pictures_have_words(parsed):
    for name,page in parsed.items():
        assert page.figures==page.captions, name
        for i in page.images:
            assert len(i.get('alt') or '') > 15 or i.get('src', '').startswith('data:image/svg'), (
                name, i.get('src', '')[:80])
    # panels stand in for their figure on narrow screens
    whole = lambda i: '_images' in i.get('src', '') and i.get('class')!='panel'
    pictures = {n: sum(map(whole, p.images)) for n,p in parsed.items()}
    assert all(pictures[n] <= parsed[n].figures
        for n in pictures), 'a picture without a caption: `#| fig-cap:`'
    assert sum(pictures.values()) > 30

def test_module_pages_are_the_same_each_time(html):
    for page in (html/'api').glob('*.html'):
        text = page.read_text(encoding='utf-8')
        assert not re.search(r'object at 0x|OptionInfo|ArgumentInfo|&lt;function', text), page.name

def test_chapters_say_when_how_long_and_where_to_run_them(html, parsed):
    for name in parsed:
        if re.match(r'\d\d', name):
            text = (html/name).read_text(encoding='utf-8')
            assert re.search(r'\d{1,2} \w+ 20\d\d · \d+ min to read', text), name
            part = re.search('<span class="part">(.*?) · chapter (.*?)</span>', text)
            assert part[2]==name.split('_')[0] and part[1], name
            assert 'How to cite this chapter' in text, name
            assert text.count(f'href="notebooks/{name[:-5]}.ipynb"')==2, name
            assert f'colab.research.google.com/github/{staged.github}/blob/' in text, name

def test_home_answers_first(html):
    "One sentence, the picture, three findings with numbers from stored results, the two series"
    text = (html/'index.html').read_text(encoding='utf-8').split('<article')[1]
    places = [text.index(w) for w in ('class="lead"', 'id="fp-widget"', '<h2>Three findings',
        '<h2>Two series', '<h2>The toolbox', '<h2>Who had these ideas', '<h2>Where the code is')]
    assert places==sorted(places)
    for c in claims.findings(): assert c['title'] in text
    for n in ('sparana.blog', 'llm-random.github.io', 'href="claims.html"'): assert n in text
    assert 'id="fp-widget"' in (html/'11_class_pruning.html').read_text(encoding='utf-8')

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
    import apidoc
    known,total = {n for found in apidoc.symbols().values() for n in found},0
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
    import blog
    for p in pages:
        head = (html/p).read_text(encoding='utf-8').split('</head>')[0]
        assert 'application/atom+xml' in head and '<meta name="description"' in head, p
        assert (html/p).parent.joinpath(re.search(r'atom\+xml"[^>]*href="([^"]+)"',
            head)[1]).resolve().is_file()
        card = dict(re.findall(r'<meta property="og:(\w+)" content="([^"]*)"', head))
        assert card['title'] and len(card['description']) > 15, p
        assert card['image'].startswith(blog.site_url), p
        assert (html/card['image'].removeprefix(blog.site_url)).is_file(), p

def test_figures_open_in_full_size(html, parsed):
    assert sum('_images/' in l for l in parsed['11c_does_it_hold.html'].links) > 5
    assert re.search(r'<a class="full[^"]*" href="[^"]*_images/[^"]*"><img',
        (html/'11_class_pruning.html').read_text(encoding='utf-8'))

def test_folders_of_others_are_left_alone(tmp_path):
    import blog
    (tmp_path/'src').mkdir(); (tmp_path/'src/mine.py').write_text('mine')
    with pytest.raises(SystemExit, match='has not made'): blog.main(['--out', str(tmp_path)])
    assert (tmp_path/'src/mine.py').read_text()=='mine'

@pytest.mark.parametrize('spoil,msg', [(lambda nb: '{', 'is no notebook'),
    (lambda nb: _without(nb, 'A full run takes'), 'does not say when'),
    (lambda nb: _without(nb, '# Data'), 'title and a summary'), (lambda nb: _no_outputs(nb),
    'no stored output')])
def test_broken_notebooks_are_named(spoil, msg, tmp_path, monkeypatch):
    import blog
    name = '01_data' if 'output' not in msg else '13_output_values'
    for nb in (repo/'nbs').glob('*.ipynb'): (tmp_path/nb.name).symlink_to(nb)
    f = tmp_path/f'{name}.ipynb'
    spoilt = spoil(json.loads(f.read_text(encoding='utf-8')))
    f.unlink()
    f.write_text(spoilt, encoding='utf-8')
    monkeypatch.setattr(blog, 'nbs', tmp_path)
    with pytest.raises(SystemExit, match=msg) as e: blog.chapters()
    assert name in str(e.value)

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
    import blog
    for e in entries:
        link = e.find(a+'link').get('href')
        assert link.startswith(blog.site_url) and (html/link.removeprefix(blog.site_url)).is_file()
        assert e.find(a+'summary').text and '`' not in e.find(a+'title').text

# ---- in a browser

@pytest.fixture(scope='session')
def base(html):
    with served(html) as url: yield url

@pytest.fixture
def tab(browser):
    "One tab, in which all pages of a test are opened, with what went wrong in `.wrong`"
    p = browser.new_context(viewport=dict(width=1280, height=900)).new_page()
    p.set_default_timeout(120_000) # three browsers on two cores begin at once
    p.wrong,p.got = [],[]
    p.on('console', lambda m: m.type=='error' and p.wrong.append(m.text))
    p.on('pageerror', lambda e: p.wrong.append(str(e)))
    p.on('requestfailed', lambda r: p.wrong.append(f'failed: {r.url}'))
    p.on('request', lambda r: p.got.append(r.url))
    yield p
    p.context.close()

@pytest.fixture
def opened(tab, base):
    "Opens a page as if for the first time, in light colours"
    def f(url, width=1280):
        tab.goto('about:blank') # what the last page still asks for is not this one's
        tab.wrong.clear(); tab.got.clear()
        tab.set_viewport_size(dict(width=width, height=900))
        tab.emulate_media(color_scheme='light')
        tab.goto(url if '://' in url else base+url)
        return tab
    return f

def outside(p, base):
    "Requests that did not go to the site itself"
    return [u for u in p.got if not u.startswith((base, 'data:', 'blob:'))]

# what a page looks like at this width: what is wider than its column, and where the first figure is
looks = """() => {
    const column = document.querySelector('article').getBoundingClientRect()
    const out = e => e.getBoundingClientRect().right > column.right + 1 ||
        e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX != 'visible'
    const named = e => e.textContent.trim().slice(0, 70)
    const open = e => {
        for (let d = e.closest('details'); d; d = d.parentElement.closest('details'))
            d.open = true
    }
    const figure = document.querySelector('article :is(figure, .animation, #fp-widget)')
    const top = figure ? figure.getBoundingClientRect().top + scrollY : 0
    const cells = [...document.querySelectorAll('article div.highlight pre')]
    const tables = [...document.querySelectorAll('article table')]
    for (const e of [...cells, ...tables]) open(e)
    return { top, page: document.documentElement.scrollWidth, code: cells.filter(out).map(named),
        tables: tables.filter(t => out(t) || out(t.parentElement)).map(named) }
}"""

# tables of results whose first number is not in view beside its label
unlabelled = """() => [...document.querySelectorAll('table.dataframe')].filter(t => {
    const row = t.tBodies[0].rows[0], label = row?.cells[0], number = row?.querySelector('td')
    if (!number) return false
    const column = t.closest('.cell_output').getBoundingClientRect()
    return label.getBoundingClientRect().left < column.left - 1 ||
        number.getBoundingClientRect().right > column.right + 1
}).map(t => t.textContent.trim().replace(/\\s+/g, ' ').slice(0, 70))"""

# of thousands of words of code one of each kind stays, of cells a few
alike = """() => {
    const seen = new Set()
    for (const s of document.querySelectorAll('.highlight span')) {
        const like = s.className + ' in ' + s.parentElement.className
        if (!seen.has(like)) seen.add(like)
        else if (!s.children.length) s.remove()
    }
    const plain = [...document.querySelectorAll('div.cell, div.folded, details.code')]
        .filter(c => !c.querySelector('.cell_output'))
    for (const c of plain.slice(6)) c.remove()
    for (const t of document.querySelectorAll('table'))
        [...t.rows].slice(4).forEach(r => r.remove())
}"""
still = '* { transition: none !important; animation: none !important }'

def faults(axe, p, **options):
    "Faults that axe finds on a page as it is: their names, and where the first one is"
    # the side bar, which all pages share, is looked at on the home page
    context = {} if p.url.endswith('index.html') else dict(exclude=[['.sidebar-drawer']])
    found = axe.run(p, context=context, options=dict(preload=False, resultTypes=['violations'],
        **options))
    return [(v['id'], v['nodes'][0]['html'][:200]) for v in found.response['violations']]

@pytest.fixture(scope='session')
def telling(html, pages):
    "Some pages that together have each kind of thing that has colours of its own"
    seen,res = set(),set()
    for p in sorted(pages, key=lambda p: -(html/p).stat().st_size):
        article = (html/p).read_text(encoding='utf-8').split('<article')[-1]
        kinds = {c for m in re.findall(r'class="([^"]*)"', article) for c in m.split()}
        if kinds-seen: res.add(p)
        seen |= kinds
    return res

@pytest.mark.slow
@pytest.mark.parametrize('part', range(6))
def test_every_page_fits_and_can_be_read_by_all(opened, base, pages, telling, part):
    """Each page is opened once: no errors, nothing clipped, a figure soon, nothing that axe minds;
    colours, light and dark, on pages that together have all there are"""
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    bad = []
    for name in pages[part::6]:
        p = opened(name)
        p.add_style_tag(content=still)
        look = p.evaluate(looks)
        bad += [(name, 'wider than its column', t) for t in look['code']+look['tables']]
        if re.match(r'\d', name) and look['top'] > 1.5*900:
            bad.append((name, 'first figure at', look['top']))
        p.set_viewport_size(dict(width=375, height=900))
        phone = p.evaluate('document.documentElement.scrollWidth')
        if phone > 375: bad.append((name, 'wider than a phone', phone))
        bad += [(name, 'no number beside its label', t) for t in p.evaluate(unlabelled)]
        bad += [(name, 'error', w) for w in p.wrong+outside(p, base)]
        if name.startswith('api/') and name not in telling: continue # they differ in words
        p.set_viewport_size(dict(width=1280, height=900))
        p.evaluate(alike)
        colours = {'color-contrast': dict(enabled=name in telling)}
        bad += [(name, 'light', f) for f in faults(axe, p, rules=colours)]
        if name not in telling: continue
        p.emulate_media(color_scheme='dark')
        bad += [(name, 'dark', f) for f in faults(axe, p, runOnly=['color-contrast'])]
    assert not bad, '\n'.join(map(str, bad))

def test_what_a_page_weighs(browser, html, base):
    """All that is fetched for the home page but the widget, and for the heaviest chapter, by
    somebody who comes for the first time"""
    def weight(name):
        c,got = browser.new_context(viewport=dict(width=1280, height=900)),set()
        p = c.new_page()
        p.set_default_timeout(120_000)
        p.on('request', lambda r: got.add(r.url.split('?')[0].removeprefix(base)))
        p.goto(base+name, wait_until='networkidle')
        c.close()
        return sum((html/f).stat().st_size for f in got
            if (html/f).is_file() and 'widget' not in f)/1024
    assert weight('index.html') <= 400
    heaviest = max(html.glob('[0-9]*.html'), key=lambda f: f.stat().st_size)
    assert weight(heaviest.name) <= 2_000

def test_pages_do_not_jump(opened):
    "What comes late moves nothing: home and a chapter, on a desk and on a phone"
    shifts = """() => new Promise(done => {
        let sum = 0
        new PerformanceObserver(list => {
            for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value
        }).observe({ type: 'layout-shift', buffered: true })
        setTimeout(() => done(sum), 300)
    })"""
    for name in ('index.html', '11_class_pruning.html'):
        for width in (1280, 375):
            p = opened(name, width)
            for at in range(0, 6_000, 700):
                p.evaluate(f'scrollTo(0, {at})')
                p.wait_for_timeout(100)
            assert p.evaluate(shifts) < 0.1, (name, width)

def test_what_search_engines_and_first_visits_ask_for(html, pages):
    "A title of its own, a language, a width for phones, an address, a picture that does not wait"
    titles = {}
    for p in pages:
        text = (html/p).read_text(encoding='utf-8')
        titles.setdefault(re.search('<title>(.*?)</title>', text, re.S)[1], []).append(p)
        assert re.search('<html[^>]* lang="en"', text), p
        assert 'name="viewport" content="width=device-width' in text, p
        assert len(re.findall('<link rel="canonical"', text)) <= 1, p
        assert len(re.findall(r'<h1\b', text))==1, p
        shown = re.findall(r'<img[^>]*_images/[^>]*>', text)
        assert all((n==0) == ('loading="lazy"' not in i) for n,i in enumerate(shown)), p
        assert all(re.search(r' width="\d+" height="\d+"', i) for i in shown), p
    twice = {t: p for t,p in titles.items() if len(p) > 1}
    assert not twice, twice

def test_panels_stand_below_each_other_on_a_phone(opened, html):
    "A figure of panels is one picture where there is room, and several where there is not"
    p = opened('start.html')
    whole,panels = p.locator('a.full.whole').first,p.locator('.apart').first.locator('img')
    assert whole.is_visible() and not panels.first.is_visible()
    p.set_viewport_size(dict(width=375, height=900))
    assert not whole.is_visible() and panels.count()==2
    boxes = [panels.nth(i).bounding_box() for i in range(2)]
    assert boxes[1]['y'] >= boxes[0]['y']+boxes[0]['height'] and boxes[0]['width'] > 300
    assert all(len(panels.nth(i).get_attribute('alt')) > 15 for i in range(2))

def test_a_wide_table_says_so_on_a_phone(opened):
    p = opened('17_erasing.html')
    said = p.locator('div.cell_output .sideways', has_text='sideways')
    assert not [i for i in range(said.count()) if said.nth(i).is_visible()]
    p.set_viewport_size(dict(width=375, height=900))
    wide = p.evaluate('''() => [...document.querySelectorAll('div.cell_output table.dataframe')]
        .filter(t => t.offsetWidth > t.parentElement.clientWidth + 2).length''')
    tables = p.locator('div.cell_output div:has(> table.dataframe) + .sideways')
    assert wide and wide==sum(tables.nth(i).is_visible() for i in range(tables.count()))

def test_a_row_says_what_it_is_on_a_phone(opened):
    "Cells below each other name their columns; of two labels the row's own one stays"
    p = opened('speed.html')
    p.set_viewport_size(dict(width=375, height=900))
    before = "e => getComputedStyle(e, '::before').content"
    row = p.locator('article table.docutils tbody tr').first.locator('td')
    says = [row.nth(i).evaluate(before) for i in range(row.count())]
    assert says[0]=='none' and len(says) > 3
    assert says[1:4]==[f'"{n}: "' for n in ('ours', 'rival', 'ratio')]
    p.set_viewport_size(dict(width=1280, height=900))
    assert row.nth(1).evaluate(before)=='none'

    p.goto(p.url.replace('speed', '15_suppressed_or_erased'))
    p.set_viewport_size(dict(width=375, height=900))
    table = p.locator('table.dataframe.labels2').first
    own = table.locator('tbody tr').first.locator('th').last
    p.evaluate("""t => { t.style.minWidth = '900px'
        for (let e = t; e; e = e.parentElement)
            if (e.scrollWidth > e.clientWidth) e.scrollLeft = 400 }""", table.element_handle())
    assert table.bounding_box()['x'] < -300 and own.inner_text()=='sgd'
    assert 0 <= own.bounding_box()['x'] < 40
    assert 'relearning' in own.evaluate(before) # the group's label as well
    assert not table.locator('tbody tr').first.locator('th').first.is_visible()

def test_a_fault_is_found(opened):
    "The measures themselves: grey on grey, a picture without words, code and a table too wide"
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    p = opened('07_cut.html')
    p.evaluate("""() => {
        for (const e of document.querySelectorAll('.highlight span.n')) e.style.color = '#ddd'
        document.querySelector('article').appendChild(new Image()).src = 'x.png'
        document.querySelector('.highlight pre').append('long '.repeat(60))
        document.querySelector('table.dataframe').style.minWidth = '3000px' }""")
    assert {'color-contrast', 'image-alt'} <= {n for n,_ in faults(axe, p)}
    look = p.evaluate(looks)
    assert look['code'] and look['tables']
    p.set_viewport_size(dict(width=375, height=900))
    assert p.evaluate(unlabelled)

def test_the_button_changes_the_theme(opened):
    p = opened('cite.html')
    back = lambda: p.evaluate("getComputedStyle(document.body).backgroundColor")
    seen = {back()}
    for _ in range(3):
        p.locator('button.theme-toggle:visible').first.click()
        seen.add(back())
    assert len(seen)==2

def test_terms_tell_their_meaning_by_keyboard(opened):
    p = opened('11_class_pruning.html')
    term = p.locator('a.term').first
    tip = term.locator('xpath=following-sibling::span')
    assert not tip.is_visible()
    term.focus()
    assert tip.is_visible() and len(tip.inner_text()) > 30
    assert term.get_attribute('aria-describedby')==tip.get_attribute('id')
    p.keyboard.press('Escape')
    assert not tip.is_visible()

def test_terms_tell_their_meaning_to_a_touch(browser, base):
    "The first touch tells, the second leads to the glossary"
    c = browser.new_context(viewport=dict(width=375, height=800), has_touch=True, is_mobile=True)
    p = c.new_page()
    p.set_default_timeout(120_000)
    p.goto(base+'11_class_pruning.html')
    term = p.locator('a.term').first
    term.tap()
    assert term.locator('xpath=following-sibling::span').is_visible()
    assert '11_class_pruning' in p.url
    term.tap()
    p.wait_for_url('**/glossary.html#*')
    c.close()

def test_code_is_folded_and_unfolds(opened):
    p = opened('11_class_pruning.html')
    inside = p.locator('.folded details.body pre').first
    assert not inside.is_visible()
    assert 'def class_means' in p.locator('.folded', has_text='class_means').first.inner_text()
    p.get_by_role('button', name='Show all code').click()
    assert inside.is_visible()

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
    p.locator('a.next-page').click(); p.wait_for_load_state()
    assert '11b_rivals' in p.url
    p.locator('a.prev-page').click(); p.wait_for_load_state()
    assert '11_class_pruning' in p.url

def test_copy_buttons(opened):
    p = opened('11_class_pruning.html')
    assert p.locator('details.body button.copybtn').count() > 2
    assert not p.locator('.folded > div button.copybtn').count() # a signature alone does nothing
    assert p.locator('button.copybtn').first.get_attribute('aria-label')
    assert opened('26_recycling.html').locator('button.copybtn').count() > 20
