"The house: imports run down, nothing private is borrowed, nothing is required that is not used"
import ast, builtins, dis, inspect, json, re, subprocess, sys
from configparser import ConfigParser
from pathlib import Path
import pytest, torch
import apidoc, blog # tools/, see conftest.py
from fastcore.docments import docments
from chapters import cells, module_of, source

repo = Path(__file__).resolve().parents[1]
notebooks = sorted((repo/'nbs').glob('[0-9]*.ipynb'))

def exported(c): return bool(re.match(r'#\|\s*exporti?\b', source(c)))

order = [m for nb in notebooks if (m := module_of(nb))] # from the ground up
trees = {m: ast.parse((repo/'forgetprune'/f'{m}.py').read_text(encoding='utf-8')) for m in order}

def ours(tree):
    "Pairs of a module of ours and a name that is imported from it, wherever the import stands"
    for n in ast.walk(tree):
        if isinstance(n, ast.ImportFrom):
            whence = '.'.join(filter(None, ['forgetprune' if n.level else '', n.module]))
            if whence.startswith('forgetprune.'):
                for a in n.names: yield whence.split('.')[1], a.name
            elif whence=='forgetprune':
                for a in n.names: yield a.name, None
        elif isinstance(n, ast.Import):
            for a in n.names:
                if a.name.startswith('forgetprune.'): yield a.name.split('.')[1], None
        elif isinstance(n, ast.Constant) and re.fullmatch(r'forgetprune\.\w+', str(n.value)):
            yield n.value.split('.')[1], None # for `import_module`

def test_every_module_has_a_chapter():
    made = {p.stem for p in (repo/'forgetprune').glob('[a-z]*.py')}-{'all'}
    assert made==set(order) and len(order)==len(set(order))

def test_the_index_says_of_a_chapter_what_it_says_of_itself():
    index = '\n'.join(map(source, cells(repo/'nbs/index.ipynb')))
    rows = re.findall(r'^\| \[([^]]*)\]\((\d\w*)\.ipynb\) \| ([^|]*) \|$', index, re.M)
    assert len(rows)==len(notebooks)
    series = blog.chapters()
    for title,name,says in rows:
        own = series[name]
        assert (title, says.lower())==(own['title'], own['summary'].lower()), name

def test_imports_run_down():
    assert sum(len(list(ours(t))) for t in trees.values()) > 100 # they are seen
    up = [(m, o) for i,m in enumerate(order) for o,_ in ours(trees[m]) if o in [*order[i:], 'all']]
    assert not up, up

@pytest.mark.parametrize('text,bad', [('from forgetprune.recycle import Recycle', True),
    ('def f():\n    from forgetprune.recycle import Recycle', True),
    ('import forgetprune.recycle', True), ('from forgetprune.all import Recycle', True),
    ('import_module("forgetprune.recycle")', True), ('from .recycle import Recycle', True),
    ('from . import recycle', True), ('from forgetprune.data import get_dls', False)])
def test_an_import_that_runs_up_is_seen(text, bad):
    at = order.index('cut')
    assert any(o in [*order[at:], 'all'] for o,_ in ours(ast.parse(text)))==bad

def private(name): return name.startswith('_') and not name.startswith('__')

def defined(tree):
    "Private names that a module makes: functions, classes, variables, attributes"
    for n in ast.walk(tree):
        if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and private(n.name): yield n.name
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and private(n.id): yield n.id
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and private(n.attr):
            yield n.attr

def test_nothing_private_is_borrowed():
    "Neither imported from another module, nor reached for in one of its objects"
    has = {m: set(defined(t)) for m,t in trees.items()}
    theirs = vars(torch.nn.Module()) # PyTorch's
    borrowed = [(m, o, n) for m,t in trees.items() for o,n in ours(t) if n and private(n)]
    for m,t in trees.items():
        for n in ast.walk(t):
            if not (isinstance(n, ast.Attribute) and private(n.attr)): continue
            if n.attr in has[m] or n.attr in theirs: continue
            borrowed += [(m, o, n.attr) for o in order if n.attr in has[o]]
    assert not borrowed, borrowed

imported_as = {'scikit-learn': 'sklearn', 'pillow': 'PIL'}

def test_what_is_required_is_used_and_what_is_used_is_required():
    cfg = ConfigParser(interpolation=None); cfg.read(repo/'settings.ini', encoding='utf-8')
    names = lambda key: {imported_as.get(n, n) for r in cfg['DEFAULT'][key].split()
        if (n := re.split(r'[><=;\[]', r)[0])}
    used = set()
    for tree in [*trees.values(), ast.parse((repo/'forgetprune/all.py').read_text())]:
        for n in ast.walk(tree):
            if isinstance(n, ast.Import): used |= {a.name.split('.')[0] for a in n.names}
            if isinstance(n, ast.ImportFrom) and not n.level: used.add(n.module.split('.')[0])
    used -= {'forgetprune', *sys.stdlib_module_names}
    asked = names('requirements')
    asked |= {'tomli'} # the standard library has it from Python 3.11 on
    extra = names('hf_requirements')|names('scale_requirements')
    assert asked-{'tomli'} <= used, f'required and never used: {asked-used}'
    assert used-extra <= asked, f'used and not required: {used-extra-asked}'
    repeated = (names('dev_requirements') | names('site_requirements'))&(extra|asked)
    assert not repeated, f'required twice: {repeated}'

def test_kinds_of_layers_are_known_in_one_place():
    "Outside of `kinds` no module asks whether something is a linear layer or a convolution"
    kinds,asks = {'Linear', 'Conv1d', 'Conv2d', 'Conv3d', 'Conv1D', '_ConvNd'},[]
    for m in set(order)-{'kinds', 'networks'}: # networks are made of them
        for n in ast.walk(trees[m]):
            asked = isinstance(n, ast.Call) and getattr(n.func, 'id', '')
            if asked in ('isinstance', 'issubclass'):
                named = {getattr(x, 'attr', getattr(x, 'id', '')) for x in ast.walk(n.args[1])}
                if named & kinds: asks.append((m, n.lineno))
    assert not asks, asks

@pytest.mark.parametrize('nb', [n for n in notebooks if module_of(n)], ids=lambda p: p.stem)
def test_lessons_rebind_nothing_of_their_module(nb):
    "A lesson that gives a name of the module another value hides it from the cells below"
    made,bound = set(),[]
    for c in cells(nb):
        if c['cell_type']!='code': continue
        try: tree = ast.parse(source(c))
        except SyntaxError: continue # magics
        top = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        top |= {n.id for s in tree.body if not isinstance(s, (ast.FunctionDef, ast.ClassDef))
            for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        if exported(c): made |= top
        else: bound += [(n, source(c)[:60]) for n in top & made]
    inner = {'x', 'y', 'n', 'k', 'm', 'f', 'i', 'j', 'p', 's', 't', 'v', 'w'} # of comprehensions
    assert not [b for b in bound if b[0] not in inner], bound

def test_all_brings_only_what_says_what_it_is():
    import forgetprune.all as A
    names = set(A.__all__)
    vague = {'copy', 'put', 'zero', 'initial', 'current', 'scores', 'rules', 'squares',
        'selectors'} # that is a module of Python's
    assert not names & vague, names & vague
    assert not names & set(dir(builtins)) and not [n for n in names if n.startswith('test')]
    modules = names & sys.stdlib_module_names
    assert all(inspect.ismodule(getattr(A, n)) for n in modules), modules
    lost = [n for m in order for n in __import__(f'forgetprune.{m}', fromlist=['x']).__all__
        if n not in names and m not in ('basics', 'figures', 'measured', 'report', 'commands',
            'subjects', 'forget_command', 'audit_command', 'recycle_command', 'cli')
        and n not in vague]
    assert not lost, lost

def unsaid():
    "Public names of the reference without a description, and their arguments without a meaning"
    for found in apidoc.symbols().values():
        for name,o in found.items():
            if isinstance(o, dict): continue # a table, shown by its keys
            f,call = apidoc.called(o)
            if not apidoc.said_of(f): yield name, None
            if call is None: continue
            args,words = apidoc.options_of(list(inspect.signature(call).parameters.values()))
            said = {**docments(call, args_kwargs=True), **words}
            for a in args:
                if a.name not in ('self', 'cls') and not said.get(a.name): yield name, a.name

def test_the_reference_says_what_everything_is():
    fields_of_channels = {'Heads', 'Neurons'} # are told there
    lost = [(n, a) for n,a in unsaid() if not (a and n in fields_of_channels)]
    assert not lost, lost

def in_new_process(code, *args):
    return subprocess.run([sys.executable, '-c', code, *map(str, args)], capture_output=True,
        text=True, check=True, timeout=300).stdout

def test_help_and_version_do_not_wait_for_pytorch():
    for args in (['--help'], ['--version'], []):
        said = in_new_process('''import sys
from forgetprune.cli import main
try: main(sys.argv[1:])
except SystemExit as e: assert not e.code
assert not {'torch', 'fastai', 'pandas', 'matplotlib'} & set(sys.modules)''', *args)
        assert 'forget' in said or re.match(r'\d+\.\d+', said)
    in_new_process("import sys, forgetprune; assert not {'torch', 'numpy'} & set(sys.modules)")

@pytest.mark.slow
def test_what_is_needed_comes_by_itself():
    "Nobody has to import a module for the sake of another one"
    in_new_process('''import sys
from forgetprune.data import get_dls
from forgetprune.training import get_learner
import forgetprune.forget
learn = get_learner(get_dls('digits', bs=64), recipe='adam', seed=0)
with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
res = learn.forget(7, criterion='erasing', steps=20, progress=False)
assert len(res.cut)''')
    in_new_process('''import sys
import fastai.basics as F, torch
from forgetprune.networks import Encoder
from forgetprune.recycle import Recycle
def train(cb):
    torch.manual_seed(0)
    x = torch.randint(20, (64, 8))
    dl = F.DataLoader(torch.utils.data.TensorDataset(x, x), bs=8)
    l = F.Learner(F.DataLoaders(dl, dl, device='cpu'),
        Encoder(20, d_model=8, n_heads=2, d_ff=16, n_layers=1), cbs=cb,
        loss_func=lambda p,y: F.F.cross_entropy(p.flatten(0, 1), y.flatten()), opt_func=F.Adam)
    with l.no_bar(), l.no_logging(): l.fit(1, 1e-3)
    return cb
first,second = train(Recycle(3, 0.25, seed=0)),Recycle(3, 0.25, seed=0)
second.load_state_dict(first.state_dict()) # all that a training needs to go on
train(second)
n = len(first.events)
assert n and len(second.events) > n and second.count==2*first.count
assert [e['step'] for e in second.events[:n]]==[e['step'] for e in first.events]
assert 'forgetprune.resume' not in sys.modules''')

def test_chapters_run_in_order_and_say_what_moved():
    import full
    names = full.order()
    assert names[0]=='00_basics' and names[-1]=='index' and len(names)==len(set(names))
    assert set(names)=={nb.stem for nb in notebooks}|{'index'}
    assert names.index('04_training') < names.index('10_inner_layers') < names.index('35_cli')
    assert full.chosen(['cut', '08'], names)==['07_cut', '08_curve'] # not what begins so
    with pytest.raises(SystemExit, match='no such chapter'): full.chosen(['nothing'], names)
    cell = lambda *said: dict(cell_type='code', id='a', source=[], outputs=[dict(
        output_type='stream', name='stdout', text=[s]) for s in said])
    assert full.moved([cell('1 at 0x7f')], [cell('1 at 0x8e')])==[]
    assert full.moved([cell('0.5')], [cell('0.6')])==['  cell 0: was 0.5', '           is 0.6']
    assert 'outputs before' in full.moved([cell('a')], [cell('a', 'b')])[0]
    assert full.moved([cell('f at 0x1f\n0.5')], [cell('f at 0x2a\n0.6')])[0].endswith('was 0.5')
    assert full.moved([cell('a\nb')], [cell('a')])[0].endswith('was b')
    assert 'gone' in full.moved([cell('a')], [])[0]

def made_chapter(path, *sources):
    new = [dict(cell_type='code', id=f'c{i}', metadata={}, source=[s], execution_count=None,
        outputs=[]) for i,s in enumerate(sources)]
    path.write_text(json.dumps(dict(cells=new, metadata={}, nbformat=4, nbformat_minor=5)))

def run_in_full(path, monkeypatch):
    "Exit status of a full run of one chapter that lies elsewhere"
    import full
    monkeypatch.setattr(full, 'nbs', path.parent)
    monkeypatch.setattr(full, 'order', lambda: [path.stem])
    monkeypatch.setattr(sys, 'argv', ['full.py'])
    with pytest.raises(SystemExit) as e: full.main()
    return e.value.code

def test_a_full_run_keeps_what_came_out_before_and_after_a_failed_assertion(tmp_path, monkeypatch,
        capsys):
    nb,kept = tmp_path/'99_made.ipynb',tmp_path/'.99_made.failed.full.ipynb'
    made_chapter(nb, 'x = 1', 'assert x==2, "not two"', 'x+1', 'unknown', 'x+2')
    before = nb.read_text()
    assert run_in_full(nb, monkeypatch)=='failed: 99_made' and nb.read_text()==before
    said = capsys.readouterr().out
    assert 'cell 1, c1: AssertionError' in said and 'not two' in said and str(kept) in said
    assert 'cell 3, c3: NameError' in said # an assertion tells of a result, this of a broken run
    outs = [[o.get('data', {}).get('text/plain') for o in c['outputs']] for c in cells(kept)]
    assert outs[2]==[['2']] and outs[4]==[]
    made_chapter(nb, 'x = 1', 'x+1')
    assert run_in_full(nb, monkeypatch)==0 and cells(nb)[1]['outputs']

def test_a_full_run_that_is_cut_off_goes_on(tmp_path, monkeypatch):
    "Jobs that were done are not done again, unless the code is another, theirs or that above"
    nb,ran,go = tmp_path/'99_made.ipynb',tmp_path/'ran',tmp_path/'go'
    jobs = f"""import os
from joblib import Parallel, delayed
def job(i):
    with open({str(ran)!r}, 'a') as f: f.write(f'{{i}} ')
    return 10*i
found = Parallel(n_jobs=2)(delayed(job)(i) for i in range(3))"""
    off = f"if not os.path.exists({str(go)!r}): os._exit(1)"
    made_chapter(nb, jobs, off, 'sum(found)+sum(Parallel(n_jobs=1)(delayed(abs)(i) for i in [-1]))')
    assert run_in_full(nb, monkeypatch)=='failed: 99_made'
    folder = tmp_path/'.99_made.kept'
    assert len(list(folder.iterdir()))==3 and sorted(ran.read_text().split())==['0', '1', '2']
    go.touch()
    assert run_in_full(nb, monkeypatch)==0 and not folder.exists()
    assert cells(nb)[2]['outputs'][0]['data']['text/plain']==['31']
    assert len(ran.read_text().split())==3
    go.unlink()
    assert run_in_full(nb, monkeypatch)=='failed: 99_made'
    made_chapter(nb, jobs.replace('10*i', '20*i'), off, 'sum(found)')
    go.touch()
    assert run_in_full(nb, monkeypatch)==0 and len(ran.read_text().split())==9
    assert cells(nb)[2]['outputs'][0]['data']['text/plain']==['60']

    # a cell that fails below the jobs can be mended, and they are not done again
    made_chapter(nb, jobs, 'sum(fuond)')
    assert run_in_full(nb, monkeypatch)=='failed: 99_made' and len(ran.read_text().split())==12
    made_chapter(nb, jobs, 'sum(found)')
    assert run_in_full(nb, monkeypatch)==0 and len(ran.read_text().split())==12
    assert cells(nb)[1]['outputs'][0]['data']['text/plain']==['30'] and not folder.exists()

def names(code, what):
    "Global names that a piece of code loads or stores (`what`), inner functions and classes too"
    for i in dis.get_instructions(code):
        if i.opname in (f'{what}_NAME', f'{what}_GLOBAL'): yield i.argval
    for c in code.co_consts:
        if inspect.iscode(c): yield from names(c, what)

def unknown_names(text):
    "Names that the code of a notebook uses and neither makes nor imports"
    code,known = compile(text, 'notebook', 'exec'),{}
    for n in ast.parse(text).body:
        if isinstance(n, (ast.Import, ast.ImportFrom)):
            exec(compile(ast.Module([n], []), 'imports', 'exec'), known)
    there = {*known, *names(code, 'STORE'), *dir(builtins), '__name__', '__annotations__'}
    return sorted(set(names(code, 'LOAD'))-there)

def test_unknown_names_are_seen():
    assert unknown_names('import os\ndef f(): return os.sep+g(1)\nclass A: x = 1; y = x')==['g']

@pytest.mark.parametrize('nb', [*notebooks, repo/'nbs/index.ipynb'], ids=lambda p: p.stem)
def test_all_names_of_a_chapter_are_there(nb):
    "Those of its slow cells too, which the tests do not run"
    assert unknown_names('\n'.join(source(c) for c in cells(nb) if c['cell_type']=='code'))==[]

@pytest.mark.parametrize('f', [repo/'bench/bench.py', repo/'README.md', repo/'CONTRIBUTING.md',
    *sorted((repo/'blog/pages').glob('*.md'))], ids=lambda p: p.name)
def test_what_others_import_is_there(f):
    "In code that is kept as text too, which no linter reads"
    lost = []
    for m,names in re.findall(r'from forgetprune\.(\w+) import \(?([\w, ]+)', f.read_text('utf-8')):
        module = __import__(f'forgetprune.{m}', fromlist=['x'])
        lost += [(m, n) for n in names.replace(',', ' ').split() if not hasattr(module, n)]
    assert not lost, lost
