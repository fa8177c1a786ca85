"The claims: what is said of them agrees with the stored results, or the build names who does not"
import json, re, shutil, subprocess, sys
from pathlib import Path
import pandas as pd, pytest
import claims as C
from claims import ClaimError

repo = Path(__file__).resolve().parents[1]

# ---- those of the two series

@pytest.fixture(scope='module')
def settled(): return C.all_claims()

def listed(): return C.tomllib.loads((repo/'nbs/claims.toml').read_text('utf-8'))['claim']

def test_every_claim_agrees_with_the_stored_results(settled):
    assert len(settled) > 20 and {c['series'] for c in settled}=={1, 2}
    assert len({c['claim'] for c in settled})==len(settled)
    for c in settled:
        assert '{' not in c['found']+c['sure'] and 'nan' not in c['found'].lower(), c['claim']
        assert c['found'].endswith('.') and not c['claim'].endswith('.'), c['claim']

def test_page_and_tables_are_fresh(settled):
    assert (repo/'CLAIMS.md').read_text('utf-8')==C.page(claims=settled), 'run `make lib`'
    made = C.table(claims=settled)
    index = '\n'.join(map(C.source, C.cells(repo/'nbs/index.ipynb')))
    assert f'{C.marks[0]}\n\n{made}\n\n{C.marks[1]}' in index, 'run `make lib`'
    of_readme = re.sub(r'\]\((\d\d\w*\.ipynb)\)', r'](nbs/\1)', made).replace('](../', '](')
    assert of_readme in (repo/'README.md').read_text('utf-8'), 'run `make lib`'

def test_links_lead_somewhere():
    there = re.findall(r'\]\((nbs/[^)]+)\)', (repo/'CLAIMS.md').read_text('utf-8'))
    assert len(there) > 20 and all((repo/l).is_file() for l in there)

def test_no_result_is_typed():
    for c in listed():
        assert not re.search(r'\d ?%|±|\d to \d', c['found']), c['claim']
        used = ' '.join([c['found'], c['sure'], *c['if']])
        unused = [n for n in c['values'] if not re.search(rf'\b{n}\b', used)]
        assert not unused, (c['claim'], unused)

# ---- made-up ones

def shows(*data): return [dict(output_type='display_data', metadata={}, data=d) for d in data]

def as_table(df): return {'text/html': df.to_html(), 'text/plain': df.to_string()}

def notebook(folder, name='10_made_up', **outputs):
    "A chapter whose cells have these ids and outputs"
    head = dict(cell_type='markdown', id='head', source=['# Made up\n', '> It is'])
    cells = [dict(cell_type='code', id=i, source=['for s in range(7): pass'], outputs=o)
        for i,o in outputs.items()]
    (folder/f'{name}.ipynb').write_text(json.dumps(dict(cells=[head, *cells])), 'utf-8')

losses = pd.DataFrame(dict(mean=[1., 2.], std=[0.25, 0.5]), index=['cut', 'random'])
by_seed = pd.DataFrame(dict(recipe=['sgd', 'sgd', 'adam'], seed=[0, 1, 0], ones=[1, 4, 9]))
by_seed = by_seed.set_index(['recipe', 'seed'])
intervals = pd.DataFrame(dict(target=[3, 7], value=['known', 'known'], mean=[2.5, 30.],
    sd=[0.5, 1.], interval=['2.0 to 3.0', '29.0 to 31.0']))
wide = pd.DataFrame([['97.1 ± 0.2', '-', '1,200 ± 30']], index=['others'],
    columns=pd.MultiIndex.from_tuples([('sgd', 10), ('sgd', 20), ('adam', 10)], names=['how', 'k']))

@pytest.fixture
def folder(tmp_path):
    notebook(tmp_path, losses=shows(as_table(losses)), by_seed=shows(as_table(by_seed)),
        intervals=shows(as_table(intervals)), wide=shows(as_table(wide)),
        told=[dict(output_type='stream', name='stdout', text=['suppressed    5\n'])], nothing=[])
    return tmp_path

def value(folder, **spec): return C.evidence(spec, '10_made_up', folder)

def test_a_mean_with_its_deviation(folder):
    v = value(folder, cell='losses', row='cut')
    assert (v.mean, v.sd, str(v))==(1, 0.25, '1.00 ± 0.25')
    v = value(folder, cell='losses', row='cut', times=100, digits=0)
    assert (v.mean, v.sd, str(v))==(100, 25, '100 ± 25')

def test_a_mean_with_its_interval(folder):
    v = value(folder, cell='intervals', row=['7', 'known'])
    assert (v.mean, v.low, v.high, str(v))==(30, 29, 31, '30.0 (29.0 to 31.0)')
    assert str(value(folder, cell='intervals', row=['7', 'known'], column='sd'))=='1.0'

def test_fields_of_many_labels(folder):
    v = value(folder, cell='wide', row='others', column=['sgd', '10'])
    assert (v.mean, v.sd, str(v))==(97.1, 0.2, '97.1 ± 0.2')
    assert value(folder, cell='wide', row='others', column=['adam']).mean==1200
    v = value(folder, cell='wide', row='others', column=['sgd', '20'])
    assert (v.mean, v.text)==(None, '-')
    assert value(folder, cell='by_seed', row=['sgd', '1'], column='ones').mean==4

@pytest.mark.parametrize('of,said', [('lowest', '1'), ('highest', '9'), ('range', '1 to 9')])
def test_the_ends_of_many(folder, of, said):
    assert str(value(folder, cell='by_seed', column='ones', of=of))==said
    assert str(value(folder, cell='by_seed', row='adam', column='ones', of='lowest'))=='9'

def test_one_of_several_tables(folder):
    notebook(folder, both=shows(as_table(losses), as_table(by_seed)))
    assert value(folder, cell='both', table=0, row='cut').mean==1
    assert value(folder, cell='both', table=1, row='adam', column='ones').mean==9
    for which in (dict(), dict(table=2)):
        with pytest.raises(ClaimError, match='cell both: it shows 2 tables'):
            value(folder, cell='both', row='cut', **which)

def test_text_and_source(folder):
    assert value(folder, cell='told', text=r'suppressed +(\d+)').mean==5
    assert str(value(folder, cell='losses', code=r'range\((\d+)\)'))=='7'

@pytest.mark.parametrize('text,numbers', [('-1,234.5', dict(mean=-1234.5)),
    ('1e-05', dict(mean=1e-5)), ('30%', dict(mean=30)), ('.5 ± .1', dict(mean=.5, sd=.1)),
    ('-0.1 to 2', dict(low=-.1, high=2)), ('1 (0 to 2)', dict(mean=1, low=0, high=2)),
    ('NaN', {}), ('-', {}), ('-> 3', {})])
def test_what_is_a_number(text, numbers): assert C.numbers(text)==numbers

def test_there_is_no_minus_zero(): assert str(C.value(dict(mean=-0.001), ['-0.00']))=='0.00'

@pytest.mark.parametrize('spec,said', [
    (dict(cell='losses', row='healed'), 'cell losses: no row healed; there are cut; random'),
    (dict(cell='losses', row='cut', column='loss'), 'cell losses: no column loss; there are mean'),
    (dict(cell='by_seed', row='sgd', column='ones'), 'cell by_seed: 2 rows sgd'),
    (dict(cell='by_seed', row=['sgd', '3'], column='ones'), 'no row sgd, 3'),
    (dict(cell='wide', row='others'), '3 fields have these labels'),
    (dict(cell='gone'), '10_made_up has no cell gone'),
    (dict(cell='losses', chapter='11_gone'), 'there is no chapter 11_gone'),
    (dict(cell='nothing', row='cut'), 'cell nothing: it shows nothing'),
    (dict(cell='told', row='cut'), 'cell told: it shows no table'),
    (dict(cell='told', text=r'erased +(\d+)'), r'cell told: .* is found 0 times')])
def test_what_is_missing_is_named(folder, spec, said):
    with pytest.raises(ClaimError, match=said.replace('(', r'\(').replace(')', r'\)')):
        value(folder, **spec)

def made(**kw):
    "A made-up claim, with other entries"
    values = {'cut': dict(cell='losses', row='cut'), 'random': dict(cell='losses', row='random')}
    return dict(series=1, chapter='10_made_up', claim='Cuts hurt less', word='holds',
        found='It is {cut} and {random}.', sure='{n} networks',
        values=values|{'n': dict(cell='losses', code=r'range\((\d+)\)')})|{
        'if': ['cut.mean+cut.sd < random.mean']}|kw

def test_numbers_are_put_in(folder):
    c = C.settled(made(), folder)
    assert c['found']=='It is 1.00 ± 0.25 and 2.00 ± 0.50.' and c['sure']=='7 networks'
    page = C.page(folder, [c])
    assert 'Cuts hurt less' in page and '(nbs/10_made_up.ipynb)' in page
    # the short table leads to the numbers; words that need a meaning get it if they are given
    assert '[Cuts hurt less](#claim-1)' in page and '<a id="claim-1"></a>**Cuts' in page
    assert 'means: under some' not in page and 'too few to tell' not in page
    assert 'means: under some' in C.page(folder, [c|dict(word='holds in part')])
    assert '| holds | 7 networks | [Made up](10_made_up.ipynb) |' in C.table(folder, [c])

def fails(folder, *said, **kw):
    with pytest.raises(ClaimError) as e: C.settled(made(**kw), folder)
    for s in ('Cuts hurt less', *said): assert s in str(e.value), str(e.value)

def test_a_finding_that_turned_is_named(folder):
    notebook(folder, losses=shows(as_table(losses.assign(mean=[1.8, 2.]))))
    fails(folder, 'it is said that it holds', '`cut.mean+cut.sd < random.mean` is not so',
        'cut is 1.80 ± 0.25 (10_made_up, cell losses)')

def test_a_row_that_is_gone_is_named(folder):
    notebook(folder, losses=shows(as_table(losses.drop('random'))))
    fails(folder, '10_made_up, cell losses: no row random')

def test_entries_that_say_nothing_are_named(folder):
    fails(folder, 'nothing has to hold', **{'if': []})
    fails(folder, 'no such word: seems to hold', word='seems to hold')
    fails(folder, '`cut.median < 1` cannot be told', **{'if': ['cut.median < 1']})
    fails(folder, 'KeyError', found='It is {cuts}.')

def toml(claims):
    "A list as text: JSON's strings, lists and numbers are TOML's"
    inline = lambda d: '{'+', '.join(f'{k} = {json.dumps(v)}' for k,v in d.items())+'}'
    def entry(c):
        flat = [f'{k} = {json.dumps(v)}' for k,v in c.items() if k!='values']
        return '\n'.join(['[[claim]]', *flat, '[claim.values]',
            *(f'{k} = {inline(v)}' for k,v in c['values'].items())])
    return '\n'.join(map(entry, claims))

def test_all_that_disagree_are_named_together(folder):
    turned,wordless = made(claim='Nothing', **{'if': ['cut.mean > 9']}),made(claim='None', word='?')
    claims = [made(), turned, wordless]
    (folder/'claims.toml').write_text(toml(claims), 'utf-8')
    with pytest.raises(ClaimError) as e: C.all_claims(folder)
    assert '"Nothing"' in str(e.value) and '"None"' in str(e.value)
    assert 'Cuts hurt less' not in str(e.value)

def test_the_tool_writes_all_or_nothing(tmp_path):
    shutil.copytree(repo/'tools', tmp_path/'tools', ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path/'nbs').mkdir()
    notebook(tmp_path/'nbs', losses=shows(as_table(losses)))
    index = dict(cells=[dict(cell_type='markdown', id='a', source=['Before\n', C.marks[0]+'\n',
        'what was here\n', C.marks[1]+'\n', 'after'])])
    (tmp_path/'nbs/index.ipynb').write_text(json.dumps(index), 'utf-8')
    def run(*claims):
        (tmp_path/'nbs/claims.toml').write_text(toml(claims), 'utf-8')
        return subprocess.run([sys.executable, 'tools/claims.py'], cwd=tmp_path,
            capture_output=True, text=True)
    r = run(made())
    assert r.returncode==0, r.stderr
    text = C.source(C.cells(tmp_path/'nbs/index.ipynb')[0])
    assert text.startswith('Before\n') and text.endswith('after') and 'was here' not in text
    assert '| Cuts hurt less | holds |' in text
    before = [(tmp_path/f).read_bytes() for f in ('CLAIMS.md', 'nbs/index.ipynb')]
    assert run(made()).returncode==0 # and once more changes nothing
    assert before==[(tmp_path/f).read_bytes() for f in ('CLAIMS.md', 'nbs/index.ipynb')]
    r = run(made(claim='All is well', **{'if': ['cut.mean > 9']}))
    assert r.returncode==1 and 'All is well' in r.stderr and 'Traceback' not in r.stderr
    assert before==[(tmp_path/f).read_bytes() for f in ('CLAIMS.md', 'nbs/index.ipynb')]
