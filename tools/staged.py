"""A chapter as Sphinx gets it. For `blog.py`

Directives of nbdev go. Code of the package is folded to its signatures; imports, bare checks and
the code of long cells are folded whole. Names become links to where they are documented, terms
links to the glossary, links to works citations. The chapter's figure is put under its answer if it
would come late.
"""
import re
from configparser import ConfigParser
from html import escape
from chapters import repo, source
from forgetprune.figures import in_words
from outline import after_imports, is_check, kind, names, outline, parsed
from stored import as_picture, picture_of

def repository():
    "Where the code is: owner and name on GitHub"
    cfg = ConfigParser(interpolation=None)
    cfg.read(repo/'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']['repository'].removeprefix('https://github.com/').strip('/')

github,branch = repository(),'main'
fence = '`````'

# ---- prose

# code, headings, formulas, links, rows of tables, roles and tags stay as they are
kept = '|'.join([r'(?s:```.*?```)', r'^#.*$', r'\$[^$]+\$', r'\[[^\]]*\]\([^)]*\)', r'^\|.*$',
    r'\{[^}]*\}`[^`]*`', r'<[^>]+>'])
words_kept = f'{kept}|`[^`]*`|[*]{{2}}[^*]+[*]{{2}}' # and words of code, and what is in bold

def linked(md, names):
    "Names in backticks become links, outside of code, headings, formulas and links; each once"
    seen,out = set(),[]
    for i,part in enumerate(re.split(f'({kept})', md, flags=re.M)):
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

def glossary():
    "Term to its meaning; several terms may share one"
    text = (repo/'blog/pages/glossary.md').read_text(encoding='utf-8')
    block = re.search(r'```\{glossary\}\n(.*?)```', text, re.S)[1]
    res = {}
    block = re.sub(r'^:\w+:.*\n', '', block, flags=re.M) # options
    for entry in re.split(r'\n\s*\n', block.strip('\n')):
        lines = entry.split('\n')
        meaning = ' '.join(l.strip() for l in lines if l.startswith(' '))
        res |= {l.strip(): meaning for l in lines if l and not l.startswith(' ')}
    return res

def explained(
    md, # of a cell
    terms, # name to meaning
    seen # meanings that the chapter has told already; is added to
)->str:
    "The first time that a chapter uses a term it becomes a link to the glossary"
    any_term = '|'.join(sorted(map(re.escape, terms), key=len, reverse=True))
    meaning = {t.lower(): m for t,m in terms.items()}
    known = {t.lower(): t for t in terms}
    def term(m):
        said = meaning[m[0].lower()]
        if said in seen: return m[0]
        seen.add(said)
        return f'{{term}}`{m[0]} <{known[m[0].lower()]}>`'
    out = []
    for i,part in enumerate(re.split(f'({words_kept})', md, flags=re.M)):
        out.append(part if i%2 else re.sub(rf'(?<![\w-])(?:{any_term})(?![\w-])', term, part,
            flags=re.I))
    return ''.join(out)

# ---- cells

def markdown(text): return dict(cell_type='markdown', metadata={}, source=text)

def held_together(md):
    "No line ends between a number and its %, ± or networks; code stays as it is"
    parts = re.split(r'(```.*?```|`[^`\n]+`)', md, flags=re.S)
    within = r'(?<=\d) (?=%|±|networks)|(?<=±) (?=\d)'
    parts[::2] = [re.sub(within, '\xa0', t) for t in parts[::2]]
    return ''.join(parts)

def block(code):
    "Code as it is shown"
    return f'{fence}python\n{code}\n{fence}'

def folded(summary, inside, klass):
    "Something to be unfolded, as Markdown"
    return f'<details class="{klass}"><summary>{summary}</summary>\n\n{inside}\n\n</details>'

def n_lines(code):
    n = len(code.split('\n'))
    return f'{n} line{"s"*(n>1)}'

def check_shown(code):
    "Code that says nothing but that something holds"
    first,n = code.split('\n')[0],code.count('\n')+1
    more = f' <span class="more">and {n-1} more</span>' if n > 1 else ''
    return folded(f'Check <code>{escape(first)}</code>{more}', block(code), 'code check')

def with_imports(cells, code):
    "Cells with imports added, to those right before if there are any"
    last = cells[-1]
    if last.get('imports'): code,cells = f'{last["imports"]}\n\n{code}',cells[:-1]
    return [*cells, markdown(folded('Imports', block(code), 'code imports'))|dict(imports=code)]

def label(module, name):
    "Of the cell that writes it; labels know no capitals"
    klass = '-class' if name[0].isupper() and '.' not in name else ''
    return f'code-{module}-{name.lower()}{klass}'.replace('_', '-')

def with_targets(
    code, # of an exported cell
    module, # that it goes to
    written # name to label; is added to
)->str:
    "Labels for what a cell writes, so that its documentation can lead here"
    new = [n for n in names(code) if n not in written and not n.startswith('_')]
    written |= {n: label(module, n) for n in new}
    return ''.join(f'({written[n]})=\n' for n in new)

def is_long(code):
    "More lines, or other ones, than are read on the way to what they show?"
    return code.count('\n') >= 12 or any(map(is_check, parsed(code)))

def whole(code):
    "All of a cell's code, folded"
    return folded(f'The code, {n_lines(code)}', block(code), 'code body')

def outlined(code):
    "Functions and classes: signatures and docstrings, and the rest below"
    short = outline(code)
    if not short: return f':::{{container}} whole\n{block(code)}\n:::'
    return f':::{{container}} folded\n{block(short)}\n\n{whole(code)}\n:::'

def said_in(src, key):
    "What a directive of the cell says, over several lines"
    return held_together(' '.join(re.findall(rf'^#\|\s*{key}:\s*(.*)', src, re.M)))

def code_of(src):
    "A cell's code without directives"
    return '\n'.join(l for l in src.split('\n') if not re.match(r'\s*#\|', l)).strip('\n')

def measured(html):
    "Of a table: how many columns have labels, how many there are, and characters in a row"
    first = re.search(r'<tbody>\s*<tr[^>]*>(.*?)</tr>', html, re.S)
    row = re.findall(r'<t([hd])[^>]*>(.*?)</t[hd]>', first[1] if first else '', re.S)
    words = [re.sub('<[^>]+>', '', text) for _,text in row]
    return sum(k=='h' for k,_ in row), len(row), sum(min(len(w), 24)+3 for w in words)

def table_of(html, columns):
    "What a folded table holds: the first of its names, which say what its rows are"
    named = re.findall(r'<th[^>]*>([^<]*[^<\W\d][^<]*)</th>', html.split('<tbody>')[1])
    named = [*dict.fromkeys(n.replace('<wbr>', '') for n in named)]
    rows,more = ', '.join(named[:3]),' …' if len(named) > 3 else ''
    return f'A table of {columns} columns'+(f': {rows}{more}' if rows else '')

def as_tables(outputs, wide_before):
    "Outputs with their tables made to fit; a second wide one is folded"
    res,seen = [],wide_before
    for o in outputs:
        html = ''.join(o.get('data', {}).get('text/html', ''))
        if '<tbody>' not in html: res.append(o); continue
        html = re.sub(r'<style scoped>.*?</style>', '', html, flags=re.S)
        labels,columns,row = measured(html)
        wide,dense = columns > 9 or row > 90, ' dense'*(columns > 7 or row > 75)
        html = html.replace('<table border="1" class="dataframe',
            f'<table class="dataframe labels{labels}{dense}')
        html = html.replace('<td>NaN</td>', '<td>–</td>')
        # code has the names of criteria as functions, a table as words
        html = re.sub('(<t[hd][^>]*>)([^<]+)',
            lambda m: m[1]+', '.join(map(in_words, m[2].split(', '))), html)
        heads,rows = html.split('<tbody>', 1)
        heads = re.sub(r'<th([^>]*)></th>', r'<td\1></td>', heads) # which labels nothing
        html = f'{heads}<tbody>{rows}'
        # labels break where words end
        html = re.sub('(<th[^>]*>)([^<]+)', lambda m: m[1]+m[2].replace('_', '_<wbr>'), html)
        # words may be broken into lines, numbers not
        html = re.sub('<td>(?=[^<]{25})', '<td class="words">', html)
        if wide and seen:
            html = (f'<details class="table"><summary>{table_of(html, columns-labels)}</summary>'
                f'{html}</details>')
        seen = seen or wide
        res.append(dict(o, data={**o['data'], 'text/html': html}))
    return res, seen

def shown_code(c, src, code, wide):
    "A code cell with its outputs, as cells for Sphinx, and whether a wide table was among them"
    outputs = [as_picture(o) for o in c['outputs'] if o.get('name')!='stderr']
    outputs,wide = as_tables(outputs, wide)
    cap,alt = said_in(src, 'fig-cap'),said_in(src, 'fig-alt')
    if alt:
        outputs = [dict(o, data={**o['data'], 'text/html': re.sub(
            r'alt="[^"]*: one picture per step"', lambda m: f'alt="{escape(alt)}"',
            ''.join(o['data']['text/html']))}) if 'text/html' in o.get('data', {}) else o
            for o in outputs]
    c = dict(c, source=code, outputs=outputs, metadata={})
    pictures = any(map(picture_of, outputs))
    if pictures:
        c['metadata'] = dict(mystnb=dict(image=dict(alt=alt or cap),
            **(dict(figure=dict(caption=cap)) if cap else {})))
    below = [markdown(f':::{{container}} caption\n{cap}\n:::')] if cap and not pictures else []
    if not is_long(code): return [c, *below], wide
    c['metadata']['tags'] = ['remove-input']
    return [markdown(whole(code)), c, *below], wide

# ---- the chapter's figure

def lead(ch):
    "The cell with the chapter's figure: the one marked `#| lead`, or the first that has a caption"
    code = [c for c in ch['nb']['cells'] if c['cell_type']=='code']
    found = [c for c in code if said_in(source(c), 'fig-cap') and first_picture(c)]
    marked = [c for c in found if re.search(r'^#\|\s*lead\b', source(c), re.M)]
    return next(iter(marked+found), None)

def first_picture(c):
    "The first picture that a cell shows, as (ending, bytes)"
    return next(filter(None, map(picture_of, c['outputs'])), None)

def height(c):
    "About how high a cell is on the page"
    src = source(c)
    if c['cell_type']=='markdown': return 27*(1+len(src)//85)+20*src.count('\n\n')
    if 'import' in src.split('\n')[0] or is_long(code_of(src)): return 40+40*len(c['outputs'])
    return 19*(src.count('\n')+1)+40+40*len(c['outputs'])

def comes_late(ch, figure):
    "Would the figure stand below a screen and a half?"
    cells = ch['nb']['cells']
    return sum(map(height, cells[:cells.index(figure)])) > 850 # and the head above, about 300

def lead_figure(name, ch):
    "The chapter's figure as Markdown, its file and its bytes; None if it stands early enough"
    c = lead(ch)
    if c is None or not comes_late(ch, c): return None
    cap,alt = said_in(source(c), 'fig-cap'),said_in(source(c), 'fig-alt')
    ending,picture = first_picture(c)
    file = f'lead/{name}.{ending}'
    text = f'```{{figure}} {file}\n:alt: {alt or cap}\n:class: lead\n\n{cap}\n```'
    return text, file, picture

# ---- head and end

def run_links(name):
    "Where the notebook can be had, and run"
    colab = f'https://colab.research.google.com/github/{github}/blob/{branch}/nbs/{name}.ipynb'
    return (f'<a href="notebooks/{name}.ipynb" download>Download the notebook</a>',
        f'<a href="{colab}">open it in Colab</a>')

def head(name, ch):
    "Under the title: part, number, date, and where to run it"
    download,colab = run_links(name)
    number,day = name.split('_')[0],f'{ch["date"].day} {ch["date"]:%B %Y}'
    return (f'<p class="when"><span class="part">{ch["part"]} · chapter {number}</span> · {day} · '
        f'{ch["minutes"]} min to read · {download} · {colab}</p>')

def end(name, ch, at):
    "Under a chapter: how to run it, and how to cite it"
    download,colab = run_links(name)
    key = f'forgetprune{ch["date"].year}{name.split("_")[0]}'
    title = ch['title'].replace('`', '')
    bib = (f'@misc{{{key},\n  author = {{{{The forgetprune developers}}}},\n'
        f'  title  = {{{title}}},\n'
        f'  note   = {{Chapter {name.split("_")[0]} of forgetprune}},\n'
        f'  year   = {{{ch["date"].year}}},\n  url    = {{{at}{name}.html}}\n}}')
    takes = re.sub(r'\[(.*?)\]\(.*?\)', r'\1', ch['runs']) # text of links
    runs = (f'{download}, or {colab}. It needs the package: '
        f'<code>pip install git+https://github.com/{github}</code>. {takes}')
    return markdown(f'<div class="end"><p><strong>Run it yourself.</strong> {runs}</p>\n\n'
        +folded('How to cite this chapter', f'{fence}bibtex\n{bib}\n{fence}', 'cite')+'\n\n</div>')

slot = '''<div id="fp-widget" class="fp-widget">

{figure}

</div>'''

def staged(
    name, # of the notebook
    ch, # its entry
    known, # name to the label of its documentation
    module, # that the chapter writes, or None
    written, # name to the label of the cell that writes it; is added to
    at # address of the site
)->tuple: # the notebook, and the chapter's figure, see `lead_figure`
    "A chapter as Sphinx gets it"
    cells,keys,terms,seen,wide = [],works(),glossary(),set(),False
    for c in ch['nb']['cells']:
        src = source(c)
        if c['cell_type']=='markdown':
            text = cited(re.sub(r'^\*\d{4}-\d\d-\d\d\. ', '*', src, flags=re.M), keys)
            if re.search('^## ', text, re.M): wide = False
            text = explained(linked(held_together(text), known), terms, seen)
            cells.append(markdown(text))
            continue
        code = code_of(src)
        if not code or re.search(r'^#\|\s*hide\b', src, re.M): continue
        if kind(code, bool(c['outputs']))=='imports':
            cells = with_imports(cells, code)
            continue
        first,code = after_imports(code)
        if first: cells = with_imports(cells, first)
        of = kind(code, bool(c['outputs']))
        if of=='check': cells.append(markdown(check_shown(code)))
        elif re.search(r'^#\|\s*exporti?\b', src, re.M) and not c['outputs']:
            cells.append(markdown(with_targets(code, module, written)+outlined(code)))
        elif of=='functions': cells.append(markdown(outlined(code)))
        else:
            new,wide = shown_code(c, src, code, wide)
            cells += new
    title,rest = cells[0]['source'].split('\n', 1)
    cells[0] = markdown(f'{title}\n\n{head(name, ch)}\n{rest}')
    figure = lead_figure(name, ch)
    if figure: cells.insert(answered(cells), markdown(
        slot.format(figure=figure[0]) if name=='11_class_pruning' else figure[0]))
    cells.append(end(name, ch, at))
    for c in cells:
        for k in ('id', 'imports'): c.pop(k, None)
    kernel = dict(name='python3', display_name='python3', language='python')
    about = dict(kernelspec=kernel, language_info=dict(name='python'))
    return dict(cells=cells, metadata=about, nbformat=4, nbformat_minor=4), figure

def answered(cells):
    "Where the answer ends: before the first code, heading or folded imports"
    stops = lambda c: c['cell_type']=='code' or re.match(r'##|<details|\(code|:::', c['source'])
    return next((i for i,c in enumerate(cells) if i and stops(c)), len(cells))
