"""What both series claimed and what became of it: `CLAIMS.md`, and the table in the index.

    python tools/claims.py

`nbs/claims.toml` has the words: the claim, what we found, in which chapter, how sure, and what must
hold of the numbers for the word that we give. The numbers come from the stored outputs of the
chapters. If a rerun turns a finding, or its table no longer has the row, this ends with the names
of claim and cell, and writes nothing.

A value is taken out of the cell with the id `cell`:

- `row`, `column`: labels in its table that name one field, or fields for *mean*, *std* and so on.
  With `of` ("lowest", "highest", "range") there may be many; a label left out stands for all.
- `text`: a regular expression with one group, on the text that it shows; `code`: on its source.
- `table`: which one (0, 1, ...), if the cell shows several.
- `chapter`: another one than that of the claim; `times`: a factor; `digits`: decimals shown.

In the words, `{x}` is how a value `x` is shown. There and in what must hold, `x.mean`, `x.sd`,
`x.low` and `x.high` are its numbers.
"""
import io, json, re, sys
from collections import Counter
from dataclasses import dataclass
import pandas as pd
from chapters import cells, nbs, repo, source
try: import tomllib
except ImportError: import tomli as tomllib # Python 3.10

# how one claim is said to fare, and several
words = {'holds': ('holds', 'hold'), 'holds in part': ('holds in part', 'hold in part'),
    'does not hold': ('does not hold', 'do not hold'),
    'not decided': ('is not decided', 'are not decided')}
series = {1: 'Forgetting', 2: 'Neurons'}
marks = '<!-- claims: made by tools/claims.py from nbs/claims.toml -->', '<!-- /claims -->'

class ClaimError(ValueError): "A claim and the stored results do not agree"

# ---- what cells show

def find_cell(chapter, id, folder):
    "The cell with this id"
    f = folder/f'{chapter}.ipynb'
    if not f.is_file(): raise ClaimError(f'there is no chapter {chapter}')
    found = [c for c in cells(f) if c.get('id')==id]
    if not found: raise ClaimError(f'{chapter} has no cell {id}')
    if not found[0].get('outputs'): raise ClaimError(f'{chapter}, cell {id}: it shows nothing')
    return found[0]

def shown(cell):
    "All text that a cell shows"
    data = [{'text/plain': o.get('text', ''), **o.get('data', {})} for o in cell['outputs']]
    return '\n'.join(''.join(d['text/plain']) for d in data)

def html_tables(cell):
    "The tables that a cell shows, as their HTML"
    htmls = [''.join(o.get('data', {}).get('text/html', '')) for o in cell['outputs']]
    return [h for h in htmls if '<table' in h and '<tbody>' in h]

def labels(x): return [str(v) for v in (x if isinstance(x, (tuple, list)) else [x])]

def read_table(html):
    "A table with its labels in index and columns, and fields as they are written"
    first = re.search(r'<tbody>\s*<tr[^>]*>(.*?)</tr>', html, re.DOTALL)[1]
    index,n = first.count('<th'),len(re.findall('<t[hd]', first))
    return pd.read_html(io.StringIO(html), index_col=list(range(index)) or None,
        converters={i: str for i in range(n)})[0]

# ---- values

@dataclass
class Value:
    "A number of the results, or a mean with what says how sure it is"
    text:str # as it is shown
    mean:float=None # the number itself where there is only one
    sd:float=None # standard deviation
    low:float=None # ends of an interval, or of a range
    high:float=None
    def __str__(self): return self.text

number = r'\+?(-?[\d,]*\.?\d+(?:e[-+]?\d+)?)\s*%?'
forms = [(rf'{number}', ('mean',)), (rf'{number} ± {number}', ('mean', 'sd')),
    (rf'{number} to {number}', ('low', 'high')),
    (rf'{number} \({number} to {number}\)', ('mean', 'low', 'high'))]

def numbers(
    text:str # of a field: '3.1', '3.1 ± .2', '2 to 4', '3.1 (2 to 4)'
)->dict: # name to number; empty if it is none
    "The numbers of a field"
    for form,names in forms:
        if m := re.fullmatch(form, text.strip()):
            return dict(zip(names, (float(g.replace(',', '')) for g in m.groups())))
    return {}

def decimals(texts):
    "As many as the numbers in these texts have"
    return max((len(d) for t in texts for d in re.findall(r'\.(\d+)', t)), default=0)

def written(parts, digits):
    "Numbers as they are shown"
    # no minus zero
    f = {k: re.sub(r'^-(0(\.0*)?)$', r'\1', f'{v:,.{digits}f}') for k,v in parts.items()}
    between = f'{f["low"]} to {f["high"]}' if 'low' in f else ''
    if 'mean' not in f: return between
    if between: return f'{f["mean"]} ({between})'
    return f'{f["mean"]} ± {f["sd"]}' if 'sd' in f else f['mean']

def value(
    parts, # name to number
    texts, # of the fields that they are from
    times=1, # a factor
    digits=None # decimals shown; as many as the fields have
)->Value:
    "A value from its numbers, or from a text that is none"
    if digits is None: digits = decimals(texts)
    parts = {k: v*times for k,v in parts.items()}
    return Value(written(parts, digits) if parts else texts[0], **parts)

kinds = dict(mean='mean', std='sd', sd='sd', interval=None, low='low', high='high')

def rows_named(table, names, where):
    "The rows of a table that have all these labels, in the index or else in any field"
    has = lambda given: set(names) <= set(labels(given))
    rows = [i for i,x in enumerate(table.index) if has(x)]
    rows = rows or [i for i in range(len(table)) if has(table.iloc[i].tolist())]
    if not rows:
        there = '; '.join(', '.join(labels(x)) for x in table.index[:30])
        raise ClaimError(f'{where}: no row {", ".join(names)}; there are {there}')
    return rows

def columns_named(table, names, where):
    "The columns of a table that have all these labels"
    columns = [i for i,x in enumerate(table.columns) if set(names) <= set(labels(x))]
    if not columns:
        there = '; '.join(', '.join(l for l in labels(x) if not l.startswith('Unnamed'))
            for x in table.columns[:30])
        raise ClaimError(f'{where}: no column {", ".join(names)}; there are {there}')
    return columns

def one_of(fields, where):
    "The numbers of a field, or of those of a row that hold mean, deviation and interval"
    if len(fields)==1: return numbers(*fields.values())
    parts = {}
    for names,field in fields.items():
        kind = [k for k in kinds if k in names]
        if not kind: continue
        got = numbers(field)
        if got and kind!=['interval']: got = dict([(kinds[kind[0]], got['mean'])])
        if set(got) & set(parts): parts = {}; break # there are several means
        parts |= got
    if not parts: raise ClaimError(f'{where}: {len(fields)} fields have these labels')
    return parts

def many_of(fields, of, where):
    "The lowest number of some fields, the highest, or both"
    got = [x for f in fields for k,x in numbers(f).items() if k in ('mean', 'low', 'high')]
    if not got: raise ClaimError(f'{where}: there is no number')
    if of=='range': return dict(low=min(got), high=max(got))
    return dict(mean=dict(lowest=min, highest=max)[of](got))

def the_table(cell, where, which):
    "The table that a cell shows, or the one of several that is asked for"
    found = html_tables(cell)
    if len(found) <= which or len(found)>1 and which < 0:
        raise ClaimError(f'{where}: it shows {len(found)} tables')
    if not found: raise ClaimError(f'{where}: it shows no table')
    return read_table(found[which])

def from_table(
    cell,
    where, # words for it, for errors
    row=(), # labels
    column=(), # labels
    of=None, # 'lowest', 'highest' or 'range' of many fields
    table=-1, # which, where the cell shows several
    **how # see `value`
)->Value:
    "A value of a table that a cell shows"
    table = the_table(cell, where, table)
    rows = rows_named(table, labels(row), where)
    columns = columns_named(table, labels(column), where)
    if of:
        fields = [table.iat[i, j] for i in rows for j in columns]
        fields = [f for f in fields if isinstance(f, str)] # a field may be empty
        return value(many_of(fields, of, where), fields, **how)
    if len(rows)>1: raise ClaimError(f'{where}: {len(rows)} rows {", ".join(labels(row))}')
    fields = {tuple(labels(table.columns[j])): table.iat[rows[0], j] for j in columns}
    used = [f for n,f in fields.items() if len(fields)==1 or set(n) & set(kinds)]
    return value(one_of(fields, where), used, **how)

def from_text(text, pattern, where, **how):
    "A value from the text that a cell shows, or from its source"
    found = re.findall(pattern, text)
    if len(set(found))!=1: raise ClaimError(f'{where}: {pattern!r} is found {len(found)} times')
    return value(numbers(found[0]), found, **how)

def evidence(spec, chapter, folder):
    "The value that an entry of the list asks for"
    spec = dict(chapter=chapter)|spec
    chapter,id = spec.pop('chapter'),spec.pop('cell')
    cell,where = find_cell(chapter, id, folder),f'{chapter}, cell {id}'
    if p := spec.pop('text', None): return from_text(shown(cell), p, where, **spec)
    if p := spec.pop('code', None): return from_text(source(cell), p, where, **spec)
    return from_table(cell, where, **spec)

# ---- claims

def check(claim, values):
    "Ends with the name of the claim where what its word asks for does not hold"
    known = dict(values, min=min, max=max, abs=abs, __builtins__={})
    for condition in claim['if']:
        try: holds = eval(condition, known)
        except Exception as e: raise ClaimError(f'`{condition}` cannot be told: {e}') from e
        if holds: continue
        used = {n: v for n,v in values.items() if re.search(rf'\b{n}\b', condition)}
        said = ', '.join(f'{n} is {v} ({where_of(claim, n)})' for n,v in used.items())
        is_said = words[claim['word']][0]
        raise ClaimError(f'it is said that it {is_said}, and `{condition}` is not so: {said}')

def where_of(claim, name):
    "Chapter and cell of a value"
    spec = claim['values'][name]
    return f'{spec.get("chapter", claim["chapter"])}, cell {spec["cell"]}'

def settled(claim, folder=nbs):
    "A claim with its numbers put in, once they have been held against its word"
    try:
        if claim['word'] not in words: raise ClaimError(f'no such word: {claim["word"]}')
        if not claim['if']: raise ClaimError('nothing has to hold for its word')
        values = {n: evidence(s, claim['chapter'], folder) for n,s in claim['values'].items()}
        check(claim, values)
        return claim|{k: ' '.join(claim[k].split()).format(**values) for k in ('found', 'sure')}
    except (ClaimError, KeyError, AttributeError, TypeError) as e:
        said = e if isinstance(e, ClaimError) else f'{type(e).__name__}: {e}'
        raise ClaimError(f'"{claim["claim"]}": {said}') from e

def all_claims(folder=nbs):
    "Every claim of the list, settled; all that do not agree are named together"
    listed = tomllib.loads((folder/'claims.toml').read_text(encoding='utf-8'))['claim']
    res,wrong = [],[]
    for c in listed:
        try: res.append(settled(c, folder))
        except ClaimError as e: wrong.append(str(e))
    if wrong: raise ClaimError('\n'.join(wrong))
    return res

def findings(folder=nbs):
    "What the home page tells: claims in other words, with the same numbers and conditions"
    listed = tomllib.loads((folder/'claims.toml').read_text(encoding='utf-8'))
    by_claim = {c['claim']: c for c in listed['claim']}
    return [settled(by_claim[f['claim']]|f, folder) for f in listed['finding']]

# ---- what is made of them

def chapters_of(claim):
    "The chapters in which its evidence stands, the main one first"
    others = [s['chapter'] for s in claim['values'].values() if 'chapter' in s]
    return list(dict.fromkeys([claim['chapter'], *others]))

def links(claim, folder, at=''):
    "Links to these chapters by their titles"
    def title(n): return source(cells(folder/f'{n}.ipynb')[0]).split('\n')[0].removeprefix('# ')
    return ', '.join(f'[{title(n)}]({at}{n}.ipynb)' for n in chapters_of(claim))

means = {'holds in part': 'under some of the conditions that we tried, and the text says which.',
    'not decided': 'our networks are too few to tell.'}

def meant(claims):
    "What words mean that do not say it themselves, as far as they are given"
    given = {c['word'] for c in claims}
    return '\n'.join(f'*{w.capitalize()}* means: {m}' for w,m in means.items() if w in given)

def counted(claims):
    "How many claims have which word"
    n = Counter(c['word'] for c in claims)
    told = [f'{n[w]} {words[w][n[w]!=1]}' for w in words if n[w]]
    if told[1:]: told[-1] = f'and {told[-1]}'
    return f'Of {len(claims)} claims {", ".join(told)}.'

intro = '''# Claims

What two series of posts said about networks, and what we found. The first
([Sparana](https://sparana.blog/)) cuts weights out of networks until they no longer name a class.
The second ([Krajewski et al. 2023](https://llm-random.github.io/posts/neuron_recycling/))
watches the neurons of Transformers and gives new weights to idle ones. Their claims stand here in
bold, in our words; a few are our own questions, put as claims. Networks "trained as in the series"
follow its recipe for fewer steps.

{counted}
{meant}

Numbers on this page are taken from the results that are stored in the chapters, and a word stands
only as long as these numbers bear it. Our networks are small and our trainings short, so
*does not hold* means: not here. "3 ± 1" is a mean and a standard deviation over networks, or half
a 95 % interval where a claim says so; "3 (2 to 4)" is a mean with its interval.
'''

def entry(n, claim, folder):
    "A claim on the page, the `n`th"
    head = f'{n}. <a id="claim-{n}"></a>**{claim["claim"]}**'
    return (f'{head}\n\n   *{claim["word"].capitalize()}.* {claim["found"]}\n\n'
        f'   How sure: {claim["sure"]}. Where: {links(claim, folder, "nbs/")}.')

def in_short(claims):
    "Claims, by their numbers, and their words, one below the other"
    rows = [f'| [{c["claim"]}](#claim-{n}) | {c["word"]} |' for n,c in claims.items()]
    return '\n'.join(['| claim | verdict |\n|---|---|', *rows])

def page(folder=nbs, claims=None):
    "`CLAIMS.md`"
    claims = claims or all_claims(folder)
    parts = ['<!-- Made from nbs/claims.toml and the stored outputs by `make lib`. -->',
        intro.format(counted=counted(claims), meant=meant(claims)).strip()]
    for s,name in series.items():
        own = {n: c for n,c in enumerate(claims, 1) if c['series']==s}
        parts += [f'## {name}', in_short(own), *(entry(n, c, folder) for n,c in own.items())]
    return '\n\n'.join(parts)+'\n'

def table(folder=nbs, claims=None):
    "The short table for the index"
    claims = claims or all_claims(folder)
    parts = [counted(claims)+' What we found, in numbers, is on the page [Claims](../CLAIMS.md).']
    for s,name in series.items():
        rows = [f'| {c["claim"]} | {c["word"]} | {c["sure"]} | {links(c, folder)} |'
            for c in claims if c['series']==s]
        head = '| claim | verdict | how sure | where |\n|---|---|---|---|'
        parts += [f'**{name}**', '\n'.join([head, *rows])]
    return '\n\n'.join(parts)

def with_table(
    text, # of a cell of the index
    made # the table
)->str: # the text with the table between the marks
    "The table put in where the marks are"
    between = re.compile(f'{re.escape(marks[0])}.*?{re.escape(marks[1])}', re.DOTALL)
    return between.sub(lambda m: f'{marks[0]}\n\n{made}\n\n{marks[1]}', text)

def put_in(f, made):
    "Puts the table into a notebook, as nbdev writes one"
    nb = json.loads(f.read_text(encoding='utf-8'))
    for c in nb['cells']:
        if marks[0] in source(c): c['source'] = with_table(source(c), made).splitlines(True)
    text = json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False)+'\n'
    f.write_text(text, encoding='utf-8')

def main():
    try: claims = all_claims()
    except ClaimError as e: sys.exit(f'claims and stored results do not agree:\n{e}')
    text,made = page(nbs, claims),table(nbs, claims)
    (repo/'CLAIMS.md').write_text(text, encoding='utf-8')
    put_in(nbs/'index.ipynb', made)

if __name__=='__main__': main()
