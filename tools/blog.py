"""The site from the notebooks' stored outputs: `_site/html`.

    python tools/blog.py [--out _site]

Chapters come in the parts and the order of the tables in `nbs/index.ipynb`. Each is copied to
`_site/src` without nbdev's directives, with its date and reading time, captions for its figures
(`#| fig-cap:` and `#| fig-alt:`, repeated where they go on), and links from names to where they are
documented. The pages on the modules are made from their docments. Sphinx does the rest; any warning
of it is an error.
"""
import argparse, importlib, inspect, json, re, shutil, sys, uuid
from html import escape
from itertools import groupby
from dataclasses import is_dataclass
from datetime import date, datetime, time, timezone
from pathlib import Path

repo = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(repo))
from chapters import listed as in_order, module_of, nbs, source
from claims import ClaimError, page as claims_page
from widget import widget

def chapters():
    """File name to (notebook, title, summary, date, minutes to read, how long it runs, part), in
    the order of the series"""
    res = {}
    for part,name in in_order():
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

# ---- pages on modules, from docments

# methods that others call
events = {e for e in ('before', 'after') for e in (f'{e}_{w}' for w in ('create', 'fit', 'epoch',
    'train', 'batch', 'pred', 'loss', 'backward', 'step', 'cancel_step', 'cancel_batch', 'validate',
    'cancel_train', 'cancel_validate', 'cancel_epoch', 'cancel_fit'))} | {'forward'}

def symbols():
    "Module to the public names that its chapter wrote, methods included: full name to object"
    from forgetprune._modidx import d
    res = {}
    for mod,syms in d['syms'].items():
        m,found = importlib.import_module(mod),{}
        for full in syms:
            name = full.removeprefix(mod+'.')
            if any(p.startswith('_') for p in name.split('.')): continue
            o = m
            for p in name.split('.'):
                o = getattr(o, p, None) if not isinstance(o, type) else inspect.getattr_static(o, p,
                    None)
            if o is not None:
                found[name] = getattr(o, 'f', o) if type(o).__name__=='_clsmethod' else o
        found = {n: o for n,o in found.items() if '.' not in n or (n.split('.')[-1] not in events
            and n.split('.')[0] in (*found, 'Learner'))}
        tables = {n: getattr(m, n) for n in m.__all__ if isinstance(getattr(m, n, None), dict)
            and n not in found}
        if found:
            res[mod.split('.')[-1]] = dict(sorted({**found, **tables}.items(),
                key=lambda i: (i[0].split('.')[0].lower(), i[0])))
    return res

# labels know no capitals
def target(mod, name):
    return f'api-{mod}-{name.lower()}'+('-class' if name[0].isupper() and '.' not in name else '')

def cell_text(v): return str(v).replace('|', '\\|').replace('\n', ' ')

def value(v):
    return '...' if getattr(v, '__name__', '')=='<lambda>' or repr(
        v)=='<factory>' else f'{v:.3g}' if isinstance(v, float) else getattr(v, '__name__',
        None) or repr(v)

def described(mod, name, o):
    "One name of a module: heading, signature, docstring, arguments"
    from fastcore.docments import docments
    f = o.__func__ if isinstance(o, (classmethod, staticmethod)) else o.fget if isinstance(o,
        property) else o
    call = f.__init__ if isinstance(f, type) and '__init__' in vars(f) and not is_dataclass(
        f) else f
    parts = [f'({target(mod, name)})=',
        f'{"###" if "." in name and not name.startswith("Learner.") else "##"} `{name}`',
        (vars(f).get('__doc__') or '' if isinstance(f, type) else inspect.getdoc(f) if callable(f)
        else '') or '']
    if isinstance(o, dict):
        return '\n\n'.join([*parts[:2], 'A table: '+', '.join(f'`{k}`' for k in o)])
    if isinstance(f, type) and call is f and not is_dataclass(f):
        return '\n\n'.join(p for p in parts if p)
    try: sig = inspect.signature(call)
    except (TypeError, ValueError): return '\n\n'.join(parts)
    args = [p for n,p in sig.parameters.items() if n not in ('self', 'cls')]
    # of a command: what stands there are Typer's objects
    options = {p.name: p.default.help for p in args if hasattr(p.default, 'param_decls')}
    args = [p.replace(default=p.empty if p.default.default is ... else p.default.default)
        if p.name in options else p for p in args]
    def shown(p):
        return ('*' if p.kind==p.VAR_POSITIONAL else '**' if p.kind==p.VAR_KEYWORD else '')+p.name+(
            '' if p.default is p.empty else f'={value(p.default)}')
    if not isinstance(o, property):
        parts.insert(2, f'```python\n{name}({", ".join(map(shown, args))})\n```')
    docs = {**docments(call), **options}
    rows = [f'| `{p.name}` | {cell_text(docs[p.name])} |' for p in args if docs.get(p.name)]
    if docs.get('return'): rows.append(f'| *returns* | {cell_text(docs["return"])} |')
    if rows: parts.append('\n'.join(['| argument | meaning |', '|---|---|', *rows]))
    return '\n\n'.join(p for p in parts if p)

def module_page(mod, found, chapter):
    n,ch = chapter
    intro = f'Written in the chapter [{ch["title"]}](../{n}.ipynb): *{ch["summary"]}*.'
    return (
        f'# forgetprune.{mod}\n\n{intro} `from forgetprune.{mod} import *` brings it.\n\n'
        + '\n\n'.join(described(mod, n, o) for n, o in found.items())
        + '\n'
    )

# ---- chapters

def linked(md, names):
    "Names in backticks become links, outside of code, headings, formulas and links; each once"
    seen,out = set(),[]
    for i,part in enumerate(re.split(r'((?s:```.*?```)|^#.*$|\$[^$]+\$|\[[^\]]*\]\([^)]*\)|^\|.*$)',
            md, flags=re.M)):
        if i%2: out.append(part); continue
        def name(m):
            if m[2] not in names or m[2] in seen: return m[0]
            seen.add(m[2])
            return f'[`{m[1]}`](#{names[m[2]]})'
        out.append(re.sub(r'`(([A-Za-z_][\w.]*)(?:\([^`]*\))?)`', name, part))
    return ''.join(out)

def cited(md, keys):
    "Links to works that the bibliography has become citations"
    return re.sub(r'(\()?\[[^\]]*\d{4}\]\((https?://[^)]*)\)(?(1)\))',
        lambda m: f'{{cite:{"p" if m[1] else "t"}}}`{keys[m[2]]}`' if m[2] in keys else m[0], md)

def works():
    "Address to key of everything in the bibliography"
    bib = (repo/'blog/references.bib').read_text(encoding='utf-8')
    return {m[2]: m[1] for m in re.finditer(r'^@\w+\{([^,]+),.*url=\{([^}]+)\}', bib, re.M)}

def staged(name, ch, names):
    "A chapter as Sphinx gets it"
    cells,keys = [],works()
    for c in ch['nb']['cells']:
        src = source(c)
        if c['cell_type']=='markdown':
            cells.append(dict(c,
                source=linked(cited(re.sub(r'^\*\d{4}-\d\d-\d\d\. ', '*', src, flags=re.M), keys),
                names)))
            continue
        lines = src.split('\n')
        said = {}
        for l in lines:
            if m := re.match(r'#\|\s*(fig-cap|fig-alt):\s*(.*)', l):
                said[m[1]] = f'{said[m[1]]} {m[2]}' if m[1] in said else m[2]
        code = '\n'.join(l for l in lines if not re.match(r'\s*#\|', l)).strip('\n')
        if not code or re.search(r'^#\|\s*hide\b', src, re.M): continue
        outputs = [o for o in c['outputs'] if o.get('name')!='stderr']
        cap,alt = said.get('fig-cap'),said.get('fig-alt')
        if alt:
            outputs = [dict(o,
                data={**o['data'], 'text/html': re.sub(r'alt="[^"]*: one picture per step"',
                lambda m: f'alt="{escape(alt)}"', ''.join(o['data']['text/html']))})
                if 'text/html' in o.get('data', {}) else o for o in outputs]
        c = dict(c, source=code, outputs=outputs, metadata={})
        pictures = [o for o in outputs if 'image/png' in o.get('data', {})]
        if pictures:
            c['metadata'] = dict(mystnb=dict(image=dict(alt=alt or cap or ''),
                **(dict(figure=dict(caption=cap)) if cap else {})))
        cells.append(c)
        if cap and not pictures:
            cells.append(dict(cell_type='markdown', metadata={},
                source=f':::{{container}} caption\n{cap}\n:::'))
    title,rest = cells[0]['source'].split('\n', 1)
    cells[0] = dict(
        cells[0],
        source=f'{title}\n\n<p class="when">{ch["date"].day} {ch["date"]:%B %Y} · {ch["minutes"]} '
               f'min to read · notebook <code>nbs/{name}.ipynb</code></p>\n{rest}',
    )
    for c in cells: c.pop('id', None)
    return dict(cells=cells, metadata=dict(kernelspec=dict(name='python3', display_name='python3',
        language='python'), language_info=dict(name='python')), nbformat=4, nbformat_minor=4)

def listed(series):
    "The chapters for the home page, part by part"
    def line(n, c):
        said = c['summary'][0].lower()+c['summary'][1:]
        when = f'{c["date"].day} {c["date"]:%b %Y}, {c["minutes"]} min'
        return f'- [{c["title"]}]({n}.ipynb): {said}. <span class="when">{when}</span>'
    return '\n\n'.join(f'## {part}\n\n'+'\n'.join(line(n, c) for n,c in chs)
        for part,chs in by_part(series))

def by_part(series):
    "Pairs of a part and its chapters (pairs of file name and chapter)"
    return [(p, list(g)) for p,g in groupby(series.items(), lambda i: i[1]['part'])]

def toctrees(series):
    "Tables of contents for the side bar, part by part"
    return '\n\n'.join(f'```{{toctree}}\n:hidden:\n:caption: {part}\n\n'
        +'\n'.join(f'{c["title"].replace("`", "")} <{n}>' for n,c in chs)+'\n```'
        for part,chs in by_part(series))

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
        ''
        if v is None
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
ourselves (a ratio that misses it is in bold); *limit* is the least that must be done.

{tables}
'''

def stage(src):
    "All that Sphinx needs, in the folder `src`"
    shutil.rmtree(src, ignore_errors=True)
    (src/'api').mkdir(parents=True)
    series,syms = chapters(),symbols()
    names = {n: target(mod, n) for mod,found in syms.items() for n in found}
    by_module = {m: n for n in series if (m := module_of(nbs/f'{n}.ipynb'))}
    for n,c in series.items():
        (src/f'{n}.ipynb').write_text(json.dumps(staged(n, c, names)), encoding='utf-8')
    mods = [m for m in by_module if m in syms]
    for mod in mods:
        (src/'api'/f'{mod}.md').write_text(module_page(mod, syms[mod],
            (by_module[mod], series[by_module[mod]])), encoding='utf-8')
    fill = dict(
        series=listed(series),
        chapters=toctrees(series),
        modules='\n'.join(f'api/{m}' for m in mods),
        table='\n\n'.join(
            f'[forgetprune.{m}](api/{m}.md), from *{series[by_module[m]]["title"]}*\n: '
            f'{", ".join(f"[`{n}`](#{names[n]})" for n in syms[m] if "." not in n)}'
            for m in mods
        ),
    )
    measured = (repo/'bench/results.json').exists()
    fill |= dict(speed='speed' if measured else '', speed_link='[Speed](speed.md) '
                                                               '· ' if measured else '')
    if measured: (src/'speed.md').write_text(speed(), encoding='utf-8')
    for page in (repo/'blog/pages').glob('*'):
        if page.suffix=='.md': (src/page.name).write_text(re.sub(r'\{\{(\w+)\}\}',
            lambda m: fill[m[1]], page.read_text(encoding='utf-8')), encoding='utf-8')
        else: shutil.copy(page, src/page.name)
    readme = re.sub(r'\]\(nbs/', '](', (repo/'README.md').read_text(encoding='utf-8')).replace(
        '# forgetprune\n', '# Start\n', 1).replace('(CONTRIBUTING.md)', '(contributing.md)')
    readme = readme.replace('(CLAIMS.md)', '(claims.md)')
    readme = re.sub(r'!\[(.*?)\]\((.*?)\)', r'```{figure} \2\n:alt: \1\n\n\1\n```', readme)
    (src/'start.md').write_text(linked(readme, names), encoding='utf-8')
    (src/'contributing.md').write_text((repo/'CONTRIBUTING.md').read_text(encoding='utf-8'),
        encoding='utf-8')
    try: claims = claims_page()
    except ClaimError as e: sys.exit(f'claims and stored results do not agree:\n{e}')
    claims = cited(claims.replace('](nbs/', ']('), works())
    (src/'claims.md').write_text(claims, encoding='utf-8')
    shutil.copytree(repo/'README_files', src/'README_files')
    return series

# what the theme and docutils write and a screen reader cannot make sense of
unnamed = {'<summary>': '<summary aria-label="Pages below">',
    'role="list" class="citation-list"': 'class="citation-list"', ' role="doc-biblioentry"': ''}

def finished(html, up, chapter):
    """A page with what Sphinx leaves out: words for screen readers, the feed, a description,
    figures that open in full size"""
    for a,b in unnamed.items(): html = html.replace(a, b)
    html = html.replace('<title>forgetprune — forgetprune</title>', '<title>forgetprune</title>')
    html = re.sub(r'(?<!class="full">)<img\b[^>]*\bsrc="([^"]*_images/[^"]*)"[^>]*>',
        r'<a class="full" href="\1">\g<0></a>', html)
    said = (
        chapter['summary']
        if chapter
        else 'What a network knows, where it keeps it, and whether it can be taken out'
    )
    head = (f'<link rel="alternate" type="application/atom+xml" title="forgetprune" '
        f'href="{up}feed.xml"><meta name="description" '
        f'content="{escape(re.sub(r"[`*]", "", said))}">')
    return html.replace('</head>', head+'</head>', 1)

def feed(series):
    "The series as an Atom feed; its links are relative, so that the site may lie anywhere"
    from feedgen.feed import FeedGenerator
    g = FeedGenerator()
    at = lambda c: datetime.combine(c['date'], time(), timezone.utc)
    g.id(uuid.uuid5(uuid.NAMESPACE_DNS, 'forgetprune').urn)
    g.title('forgetprune')
    g.subtitle('What a network knows, where it keeps it, and whether it can be taken out')
    g.author(name='The forgetprune developers')
    g.link(href='index.html'); g.updated(max(map(at, series.values())))
    for n,c in reversed(series.items()): # the newest first
        e = g.add_entry(order='append')
        e.id(uuid.uuid5(uuid.NAMESPACE_DNS, f'forgetprune/{n}').urn)
        e.title(c['title'])
        e.summary(c['summary']); e.link(href=f'{n}.html'); e.published(at(c)); e.updated(at(c))
    return g.atom_str(pretty=True)

def main():
    p = argparse.ArgumentParser(description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', type=Path, default=repo/'_site')
    out = p.parse_args().out.resolve()
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
        '-b', 'html', str(out/'src'), str(out/'html')])
    if rc: sys.exit(rc)
    (out/'html'/'feed.xml').write_bytes(feed(series))
    for page in (out/'html').rglob('*.html'):
        page.write_text(finished(page.read_text(encoding='utf-8'),
            '../'*(len(page.relative_to(out/'html').parts)-1), series.get(page.stem)),
            encoding='utf-8')
    widget(out/'html')
    print(f'{out}/html/index.html')

if __name__ == '__main__': main()
