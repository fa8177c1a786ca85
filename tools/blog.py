"""The site from the notebooks' stored outputs: `_site/html`.

    python tools/blog.py [--out _site]

Chapters come in the parts and the order of the tables in `nbs/index.ipynb`; `staged.py` makes of
each what Sphinx gets, with captions for its figures (`#| fig-cap:` and `#| fig-alt:`, repeated
where they go on; `#| lead` marks the chapter's own), and `apidoc.py` makes the pages on the
modules. Sphinx does the rest; any warning of it is an error. SITE_URL says where the site will lie,
for links from elsewhere.
"""
import argparse, json, os, re, shutil, sys, uuid
from html import escape
from itertools import chain, groupby, repeat
from datetime import date, datetime, time, timezone
from pathlib import Path

repo = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(repo))
from chapters import listed as in_order, module_of, nbs, source
from apidoc import cell_text, module_page, symbols, target
from claims import ClaimError, findings, page as claims_page, with_table
import tried
from pictures import Figures
from staged import cited, glossary, held_together, linked, staged, works
from widget import widget

site_url = os.environ.get('SITE_URL', 'https://forgetprune.github.io/forgetprune/')
paths = ['Forgetting', 'Neurons'] # the two series; the other parts are the toolbox

def chapters():
    """File name to (notebook, title, summary, date, minutes to read, how long it runs, part), in
    the order of the series"""
    res = {}
    for part,name in in_order(nbs):
        f = nbs/f'{name}.ipynb'
        try: nb = json.loads(f.read_text(encoding='utf-8'))
        except (OSError, ValueError) as e: sys.exit(f'{f} is no notebook ({e})')
        head = re.match(r'# (.*)\n+> (.*)', source(nb['cells'][0]))
        dated = next((m for c in nb['cells']
            if (m := re.search(r'^\*(\d{4}-\d\d-\d\d)\. (A full run takes [^*]*)\*$', source(c),
            re.M))), None)
        if not head:
            sys.exit(
                f'{f}: its first cell must be a title and a summary ("# Title", an empty line, "> '
                'summary")'
            )
        if not dated:
            sys.exit(
                f'{f}: it does not say when it was written and how long it runs ("*2026-11-22. A '
                'full run takes a minute.*")'
            )
        for c in nb['cells']:
            if any(o['output_type']=='error' for o in c.get('outputs', [])):
                sys.exit(f'{f}: a stored output is an error; run it again:\n{source(c)[:200]}')
            if '#| fig-cap:' in source(c) and not c['outputs']:
                sys.exit(f'{f}: a figure has no stored output; run it in full:\n{source(c)[:200]}')
        (title,summary),(when,runs) = head.groups(),dated.groups()
        words = sum(len(source(c).split())*(1 if c['cell_type']=='markdown' else 0.5)
            for c in nb['cells'])
        res[name] = dict(nb=nb, title=title, summary=summary, date=date.fromisoformat(when),
            minutes=max(1, round(words/220)), runs=runs, part=part)
    return res

# ---- lists of chapters

def by_part(series):
    "Part to its chapters, each a pair of file name and entry"
    return {p: list(g) for p,g in groupby(series.items(), lambda i: i[1]['part'])}

def listed(chapters):
    "Chapters with their numbers and summaries"
    def line(n, c):
        said,number = c['summary'][0].lower()+c['summary'][1:],n.split('_')[0]
        return f'- <span class="number">{number}</span> [{c["title"]}]({n}.ipynb): {said}'
    return '\n'.join(line(n, c) for n,c in chapters)

def path(chapters):
    "A series as a path: chapters with whole numbers, and folded what leads further"
    whole = [(n, c) for n,c in chapters if re.match(r'\d+_', n)]
    aside = [(n, c) for n,c in chapters if not re.match(r'\d+_', n)]
    if not aside: return listed(whole)
    many = f'{len(aside)} chapter{"s"*(len(aside)>1)} that go{"es"*(len(aside)==1)} further'
    return (f'{listed(whole)}\n\n<details class="aside"><summary>{many}</summary>\n\n'
        f'{listed(aside)}\n\n</details>')

def toctree(chapters, caption=''):
    "A table of contents for the side bar, with the numbers that chapters call each other by"
    head = f':caption: {caption}\n' if caption else ''
    return f'```{{toctree}}\n:hidden:\n{head}\n'+'\n'.join(
        f'{n.split("_")[0]} {c["title"].replace("`", "")} <{n}>' for n,c in chapters)+'\n```'

def found(claims):
    "The findings of the home page"
    def line(c):
        c = {k: held_together(v) if isinstance(v, str) else v for k,v in c.items()}
        link = f'[{c["link"]}]({c["to"]}.ipynb)'
        if c['to']!=c['chapter']: link += f' · [the numbers]({c["chapter"]}.ipynb)'
        return f'1. **{c["title"]}** {c["found"]} <span class="sure">({c["sure"]}.)</span> {link}'
    return '\n'.join(map(line, claims))

def picture(md):
    "Pictures of the README as figures"
    return re.sub(r'!\[(.*?)\]\((.*?)\)', r'```{figure} \2\n:alt: \1\n\n\1\n```', md)

# ---- other pages

# of bench/bench.py
speed_parts = dict(scoring='Scores', ordinary_loaders='Ordinary loaders', auditing='The audit',
    recording='Training, and watching it', recycling='Recycling', checkpoints='Large files',
    large_models='Large models', accelerated='On a graphics card', smaller='What cut networks cost',
    one_curve='A curve', curves='Curves')

def speed():
    "The figures of bench/results.json as a page"
    r = json.loads((repo/'bench/results.json').read_text(encoding='utf-8'))
    w = r['where']
    card = f'Rows that name {w["gpu"]} are seconds by the clock.' if w.get(
        'gpu') else 'No graphics card was at hand.'
    num = lambda v: (
        '–'
        if not v
        else f'{1e6 * v:.3g}&nbsp;µs'
        if v < 1e-3
        else f'{1e3 * v:.3g}&nbsp;ms'
        if v < 1e-2
        else f'{v:,.0f}'
        if v >= 100
        else f'{v:.3g}'
    )
    def missed(row):
        sign,_,v = row['asked'].partition(' ')
        return sign in ('<', '<=') and row['ratio'] > float(
            v) or sign=='>=' and row['ratio'] < float(v)
    def line(row):
        limit = f'<br><small>limit: {cell_text(row["limit_is"])}</small>' if row['limit_is'] else ''
        asked = row['asked'].replace('<=', '≤').replace('>=', '≥').replace('<', '&lt;').replace(' ',
            '&nbsp;')
        ratio = f'{row["ratio"]:{".2f" if row["ratio"] >= 0.1 else ".2g"}}'
        if row['ratio'] < 1e-3: ratio = '&lt; 0.001'
        if missed(row): ratio = f'**{ratio}**'
        return '| '+' | '.join([cell_text(row['what'])+limit, num(row['ours']), num(row['rival']),
            ratio, asked, num(row['limit'])])+' |'
    tables = '\n\n'.join(
        f'## {speed_parts[n]}\n\n| what | ours | rival | ratio | asked | limit '
        '|\n|:---|---:|---:|---:|---:|---:|\n'+'\n'.join(line(row) for row in rows) for n,
        rows in groupby(r['rows'], lambda row: row['part']))
    return f'''# Speed

What the chapters promise about speed, each as a ratio against the obvious alternative measured in
the same run, with the least that must be done beside it. Made by
`make bench ARGS="--out bench/results.json"` on {w["machine"]}, {w["cores"]} cores of which one was
used, Python {w["python"]}, PyTorch {w["torch"]}, {w["gmacs_per_cpu_second"]} billion multiply-adds
per second in a large matrix product. Times are CPU seconds, memory is in MiB. {card}

*Ratio* is what stands before the slash to what stands after it; *asked* is what we had set
ourselves (a ratio that misses it is in bold; *beside*, or nothing: the row is there to compare, and
nothing was asked of it); *limit* is the least that must be done (–: next to nothing, or unknown).

{tables}
'''

# pages of stored counts: title, how the page is made, of what
reports = dict(speed=('Speed', speed, repo/'bench/results.json'),
    tried=('What was tried', tried.page, tried.results))

def fill_in(series, mods, names, syms, of):
    "What stands in double braces in the pages"
    parts = by_part(series)
    others = [p for p in parts if p not in paths]
    table = '\n\n'.join(f'[forgetprune.{m}](api/{m}.md), from *{of(m)["title"]}*\n: '
        +', '.join(f'[`{n}`](#{names[n]})' for n in syms[m] if '.' not in n) for m in mods)
    more = [n for n,of in reports.items() if of[2].exists()]
    return dict(
        forgetting=path(parts.get(paths[0], [])), neurons=path(parts.get(paths[1], [])),
        chapters='\n\n'.join(toctree(parts[p], p) for p in paths if p in parts),
        toolbox='\n\n'.join(f'## {p}\n\n{listed(parts[p])}' for p in others),
        tools='\n\n'.join(toctree(parts[p]) for p in others),
        findings=found(findings()), modules='\n'.join(f'api/{m}' for m in mods), table=table,
        reports='\n'.join(more),
        report_links=''.join(f'[{reports[n][0]}]({n}.md) · ' for n in more),
    )

def start_page(names):
    "The README as a page; its table of claims is on their page"
    text = (repo/'README.md').read_text(encoding='utf-8').replace('# forgetprune\n', '# Start\n', 1)
    text = with_table(text, 'The words, the numbers and how sure they are: [Claims](CLAIMS.md).')
    for a,b in {'](nbs/': '](', '(CONTRIBUTING.md)': '(contributing.md)',
            '(CLAIMS.md)': '(claims.md)'}.items(): text = text.replace(a, b)
    return linked(picture(text), names)

def stage(src):
    "All that Sphinx needs, in the folder `src`; returns the chapters"
    shutil.rmtree(src, ignore_errors=True)
    for d in ('api', 'lead'): (src/d).mkdir(parents=True)
    put = lambda name,text: (src/name).write_text(text, encoding='utf-8')
    series,syms = chapters(),symbols()
    names = {n: target(mod, n) for mod,found in syms.items() for n in found}
    by_module,written = {},{}
    for n,c in series.items():
        mod = module_of(nbs/f'{n}.ipynb')
        if mod: by_module[mod] = n
        written[mod] = {}
        nb,figure = staged(n, c, names, mod, written[mod], site_url)
        put(f'{n}.ipynb', json.dumps(nb))
        if figure: (src/figure[1]).write_bytes(figure[2])
    mods = [m for m in by_module if m in syms]
    of = lambda mod: series[by_module[mod]]
    for mod in mods:
        put(f'api/{mod}.md', module_page(mod, syms[mod], (by_module[mod], of(mod)), written[mod]))
    try:
        fill = fill_in(series, mods, names, syms, of)
        claims = claims_page().replace('](nbs/', '](')
        # MyST does not see the places that HTML names
        claims = re.sub(r'\[([^]]+)\]\((#claim-\d+)\)', r'<a href="\2">\1</a>', claims)
    except ClaimError as e: sys.exit(f'claims and stored results do not agree:\n{e}')
    for n,(_,made,of_what) in reports.items():
        if of_what.exists(): put(f'{n}.md', made())
    for page in (repo/'blog/pages').glob('*'):
        if page.suffix!='.md': shutil.copy(page, src/page.name); continue
        put(page.name, re.sub(r'\{\{(\w+)\}\}', lambda m: fill[m[1]],
            page.read_text(encoding='utf-8')))
    put('start.md', start_page(names))
    put('claims.md', cited(claims, works()))
    shutil.copy(repo/'CONTRIBUTING.md', src/'contributing.md')
    shutil.copytree(repo/'README_files', src/'README_files')
    return series

# ---- what Sphinx leaves out

subtitle = 'What a network knows, where it keeps it, and whether it can be taken out'
about = dict(
    index='Machine unlearning by pruning, and neuron recycling: cut the weights that serve one '
    'class, audit what is left, and put idle neurons back to work; a library and a series',
    claims='What two series of posts on unlearning by pruning and on neuron recycling claimed, '
    'whether it holds here, and how sure we are',
    glossary='Words of machine unlearning, pruning, dormant neurons and plasticity, explained',
    start='Install forgetprune, make a network forget a class by pruning, audit the unlearning',
    tried='How often files, runs and downloads were killed, changed or starved, and with what end',
    toolbox='Chapters that build the library: networks, layers, cuts, curves, runs, the commands',
    cite='How to cite forgetprune and its chapters',
    references='Papers on machine unlearning, pruning, membership attacks and plasticity',
    speed='What scores, cuts, curves and audits cost, as ratios against the obvious alternative')

def described_by(name, chapter, html):
    "What a page is about, for search engines and for links to it"
    if chapter: return chapter['summary']
    if name.removesuffix('.html') in about: return about[name.removesuffix('.html')]
    if m := re.match('api/(\\w+)', name): return f'Reference of the module forgetprune.{m[1]}'
    return subtitle

def cards(name, chapter, html, shots):
    "Tags in the head: a description, and how a link to the page looks elsewhere"
    title = re.search('<title>(.*?)</title>', html, re.S)[1]
    said = escape(re.sub(r'[`*]', '', described_by(name, chapter, html)))
    shot = site_url+shots.get(name, '_static/card.png')
    tags = {'og:title': title, 'og:description': said, 'og:image': shot, 'og:url': site_url+name,
        'og:type': 'article' if chapter else 'website', 'og:site_name': 'forgetprune'}
    return (f'<meta name="description" content="{said}">'
        '<meta name="twitter:card" content="summary_large_image">'
        +''.join(f'<meta property="{k}" content="{v}">' for k,v in tags.items()))

term = re.compile(r'<a class="reference internal" href="[^"]*#(term-[^"]+)">'
    r'<span class="xref std std-term">(.*?)</span></a>')

def with_meanings(html, terms):
    "Terms of the glossary tell their meaning where they stand, to mouse and keyboard"
    def told(m):
        said = terms.get(m[1].removeprefix('term-').lower())
        if not said: return m[0]
        tip = f'tip-{m[1]}'
        link = m[0].replace('<a class="', f'<a aria-describedby="{tip}" class="term ', 1)
        return f'<span class="told">{link}<span role="tooltip" id="{tip}">{said}</span></span>'
    return term.sub(told, html)

# what Sphinx writes and a screen reader cannot make sense of
unnamed = {'class="caption" role="heading"': 'class="caption" role="heading" aria-level="2"',
    '<aside class="sidebar-drawer"': '<aside aria-label="All pages" class="sidebar-drawer"',
    '<aside class="toc-drawer"': '<aside aria-label="This page" class="toc-drawer"',
    'role="list" class="citation-list"': 'class="citation-list"',
    ' role="doc-biblioentry"': '',
    '<div id="search-results"></div>': '<h1>Search</h1><div id="search-results"></div>'}

# ---- pages

def finished(html, name, chapter, terms, figures):
    "A page with what Sphinx leaves out: the feed, cards, meanings, figures that open in full size"
    for a,b in unnamed.items(): html = html.replace(a, b)
    html = re.sub('<title>forgetprune [^<]*forgetprune[^<]*</title>',
        '<title>forgetprune: machine unlearning by pruning, and neuron recycling</title>', html)
    lazy = chain([''], repeat(' loading="lazy"')) # the first picture is looked at at once
    html = re.sub(r'<img\b([^>]*\bsrc="([^"]*_images/([^"]*))"[^>]*)>',
        lambda m: figures.shown(*m.groups(), next(lazy)), html)
    up = '../'*name.count('/')
    head = (f'<link rel="alternate" type="application/atom+xml" title="forgetprune" '
        f'href="{up}feed.xml">'+cards(name, chapter, html, figures.shots))
    return with_meanings(html, terms).replace('</head>', head+'</head>', 1)

def finish(out, series):
    "All pages in the folder `out`, the feed, and the notebooks themselves"
    (out/'feed.xml').write_bytes(feed(series))
    (out/'notebooks').mkdir()
    for n in series: shutil.copy(nbs/f'{n}.ipynb', out/'notebooks')
    terms = {t.lower().replace(' ', '-'): escape(re.sub(r'[`*]|\[|\]\([^)]*\)', '', m))
        for t,m in glossary().items()}
    figures = Figures(out, series)
    for page in out.rglob('*.html'):
        name = page.relative_to(out).as_posix()
        page.write_text(finished(page.read_text(encoding='utf-8'), name,
            series.get(name.removesuffix('.html')), terms, figures), encoding='utf-8')

def feed(series):
    "The series as an Atom feed, its links those of SITE_URL"
    from feedgen.feed import FeedGenerator
    g = FeedGenerator()
    at = lambda c: datetime.combine(c['date'], time(), timezone.utc)
    g.id(uuid.uuid5(uuid.NAMESPACE_DNS, 'forgetprune').urn)
    g.title('forgetprune')
    g.subtitle(subtitle)
    g.author(name='The forgetprune developers')
    g.link(href=site_url); g.updated(max(map(at, series.values())))
    for n,c in series.items():
        e = g.add_entry(order='append')
        e.id(uuid.uuid5(uuid.NAMESPACE_DNS, f'forgetprune/{n}').urn)
        e.title(c['title'].replace('`', ''))
        e.summary(c['summary'].replace('`', ''))
        e.link(href=f'{site_url}{n}.html'); e.published(at(c)); e.updated(at(c))
    return g.atom_str(pretty=True)

def main(args=None):
    p = argparse.ArgumentParser(description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', type=Path, default=repo/'_site')
    out = p.parse_args(args).out.resolve()
    mark = out/'.made-by-tools-blog'
    if any((out/d).exists() for d in ('src', 'html', 'doctrees')) and not mark.exists() and not (
            out/'html/.buildinfo').exists():
        sys.exit(
            f'--out {out}: there is a folder src, html or doctrees that this tool has not made, '
            'and it would be replaced; name another folder'
        )
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()
    series = stage(out/'src')
    from sphinx.cmd.build import main as sphinx
    shutil.rmtree(out/'html', ignore_errors=True)
    rc = sphinx(['-q', '-W', '--keep-going', '-c', str(repo/'blog'), '-d', str(out/'doctrees'),
        '-D', f'html_baseurl={site_url}', '-b', 'html', str(out/'src'), str(out/'html')])
    if rc: sys.exit(rc)
    finish(out/'html', series)
    widget(out/'html')
    print(f'{out}/html/index.html')

if __name__ == '__main__': main()
