"Folders of pictures and networks by name: in a call, and from the command line"
import io, json, os, re, shutil, sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
import numpy as np, pytest, torch
from PIL import Image
from fastai.basics import Adam, CrossEntropyLossFlat, Learner
from fastai.callback.schedule import * # fit_one_cycle
from fastai.torch_core import no_random
from safetensors.torch import load_file, save_file
from conftest import same_state
from forgetprune.audit import audit
from forgetprune.cli import main
from forgetprune.cut import Cut
from forgetprune.classes import without
from forgetprune.data import DataError
from forgetprune.folders import check_fits, folder_dls, load_weights, named_network
from forgetprune.loaders import batches
from forgetprune.runs import digest, run_id

names = ['7', 'disc', 'stripes', 'tench']

def picture(c, rng, size=24):
    "A coloured shape at a random place, with noise"
    a = rng.integers(60, 120, (size, size, 3)).astype(float)
    x,y = np.meshgrid(*[np.arange(size)]*2)
    u,v = rng.integers(8, 16, 2)
    at = dict(disc=(x-u)**2+(y-v)**2 < 36, stripes=(x+u)//3%2==0, tench=abs(x-u)+abs(y-v)//2 < 5)
    where = at.get(c, (abs(x-u) < 2) | (abs(y-v) < 2))
    a[where] += rng.integers(40, 90, 3)
    return Image.fromarray(a.clip(0, 255).astype('uint8'))

def pictures(path, parts=(('train', 40), ('valid', 20)), classes=names, seed=0):
    rng = np.random.default_rng(seed)
    for part,n in parts:
        for c in classes:
            (path/part/c).mkdir(parents=True)
            for i in range(n): picture(c, rng).save(path/part/c/f'{i}.png')
    return path

code = '''from torch import nn
def conv(i, o): return nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU()
def net(num_classes=4):
    return nn.Sequential(*conv(3, 16), *conv(16, 32), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(),
        nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, num_classes))
def four(): return net(4)
def nothing(): return 3
def needs(depth, num_classes, *, width): return net(num_classes)
def fails(): raise RuntimeError('no luck')
other = 3
'''

def trained(path, less=None, seed=0, epochs=8):
    "A network that knows its pictures, or one that never saw those of a class"
    with no_random(seed, reproducible=False):
        dls = folder_dls(path, 16, 32, seed)
        learn = Learner(without(dls, less) if less else dls, named_network('tinynet:net', 4),
            loss_func=CrossEntropyLossFlat(), opt_func=Adam)
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, 1e-2)
    return learn

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder with pictures, a module with a network, and networks that were trained"
    d = tmp_path_factory.mktemp('folders')
    (d/'tinynet.py').write_text(code)
    pictures(d/'shapes')
    old = sys.path[:]
    sys.path.insert(0, str(d))
    learn = trained(d/'shapes')
    state = learn.model.state_dict()
    save_file(state, d/'net.safetensors')
    torch.save(state, d/'net.pt')
    learn.path = d
    learn.save('fastai')
    for i in range(3): save_file(trained(d/'shapes', 'tench', i+1).model.state_dict(),
        d/f'gold{i}.safetensors')
    yield d
    sys.path[:] = old
    sys.modules.pop('tinynet', None)

@pytest.fixture
def at(place, monkeypatch):
    "There, as a user would be"
    monkeypatch.chdir(place)
    return place

def run(text, *more):
    "The command in this process"
    out,err = io.StringIO(),io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as e:
        main([*text.split(), *map(str, more)])
    return SimpleNamespace(code=e.value.code or 0, out=out.getvalue(), err=err.getvalue())

def refused(text, *said):
    r = run(text)
    assert r.code==2 and r.out=='' and r.err.count('\n')==1, (r.out, r.err)
    for s in said: assert s in r.err, r.err

asked = '--data shapes --arch tinynet:net --size 16 --bs 32'
forget = f'forget {asked} --model net.safetensors --budget 0.05'
quick = '--repeats 1 --most 6000 --goal 0.3'

# ---- loaders

def test_parts_and_order(at, monkeypatch):
    dls = folder_dls(at/'shapes', 16, 32)
    assert list(dls.vocab)==names and dls.c==4 and len(dls.loaders)==2
    assert [len(dls.train_ds), len(dls.valid_ds)]==[160, 80]
    x,y = next(batches(dls.valid))
    assert x.shape==(32, 3, 16, 16) and y[:20].tolist()==[0]*20 and type(x) is torch.Tensor
    # another file system lists files otherwise
    from pathlib import Path
    old = Path.iterdir
    monkeypatch.setattr(Path, 'iterdir', lambda p: reversed(sorted(old(p))))
    again = folder_dls(at/'shapes', 16, 32)
    assert list(again.train_ds.items)==list(dls.train_ds.items)
    # one seed, one order of training; nobody's random numbers are used
    state = torch.get_rng_state()
    a,b,c = [folder_dls(at/'shapes', 16, 32, s).train for s in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    a,b,c = [[y.tolist() for _,y in dl] for dl in (a, b, c)]
    assert a==b and a!=c

def test_nothing_is_augmented(at):
    train = folder_dls(at/'shapes', 16, 200).train
    by_class = [sorted(map(float, torch.cat([x for x,_ in train]).sum((1, 2, 3)))) for _ in '12']
    assert np.allclose(*by_class, atol=1e-2)

def test_split_by_seed(at, tmp_path):
    shutil.copytree(at/'shapes'/'train', tmp_path/'flat')
    a,b,c = [folder_dls(tmp_path/'flat', 16, seed=s) for s in (0, 0, 1)]
    items = lambda dl: list(dl.dataset.items)
    assert items(a.valid)==items(b.valid)!=items(c.valid)
    assert not set(items(a.valid)) & set(items(a.train))
    assert [f.parent.name for f in items(a.valid)]==[c for c in names for _ in range(8)]
    assert len(a.train_ds)==128

def test_test_part_and_val(at, tmp_path):
    pictures(tmp_path, (('train', 6), ('val', 4), ('test', 3)))
    dls = folder_dls(tmp_path, 16)
    assert [len(dl.dataset) for dl in dls.loaders]==[24, 16, 12]
    assert torch.cat([y for _,y in dls.test]).tolist()==[c for c in range(4) for _ in range(3)]

def test_what_is_wrong_with_a_folder(tmp_path):
    def fails(d, *said):
        with pytest.raises(DataError) as e: folder_dls(d, 16)
        for s in (str(d), *said): assert s in str(e.value)
    fails(tmp_path/'none', 'no such folder')
    d = tmp_path/'d'
    (d/'train'/'disc').mkdir(parents=True)
    fails(d, 'no pictures')
    rng = np.random.default_rng(0)
    def put(f):
        f.parent.mkdir(parents=True, exist_ok=True)
        picture('disc', rng).save(f)
    put(d/'train'/'disc'/'0.png')
    fails(d, 'one class only, disc')
    put(d/'train'/'eel'/'0.png')
    fails(d, 'one picture of disc')
    put(d/'valid'/'pike'/'0.png')
    fails(d, 'valid has classes that the training pictures lack: pike', 'disc, eel')
    shutil.move(d/'valid'/'pike', d/'valid'/'eel')
    (d/'train'/'eel'/'1.jpg').write_bytes(b'no picture')
    fails(d, 'train/eel/1.jpg', 'take them out')
    whole = (d/'train'/'disc'/'0.png').read_bytes()
    (d/'train'/'eel'/'1.jpg').unlink()
    (d/'valid'/'eel'/'1.png').write_bytes(whole[:len(whole)//2]) # its head is in order
    with pytest.raises(DataError, match='eel/1.png cannot be read'): list(folder_dls(d, 16).valid)
    (d/'train'/'carp').mkdir()
    fails(d, 'no training pictures of carp')
    shutil.rmtree(d/'train')
    fails(d, 'there is valid/, but no train/')

# ---- networks and weights

def test_named_networks(at):
    assert named_network('tinynet:net', 3)[-1].out_features==3
    assert named_network('tinynet:four', 3)[-1].out_features==4 # and is refused by the data
    with pytest.raises(ValueError, match='has 4 outputs, but d has 2 classes'):
        check_fits(named_network('tinynet:four', 2), SimpleNamespace(
            valid=[(torch.zeros(2, 3, 16, 16), torch.zeros(2))], c=2, vocab=['a', 'b']), 'net', 'd')
    for arch,said in (('resnet81', 'resnet18'), ('tinynet:none', 'cannot be imported'),
            ('nowhere:net', "No module named 'nowhere'"), ('tinynet:nothing', 'returned int'),
            ('tinynet:fails', 'no luck'), ('tinynet:other', 'no function, but int')):
        with pytest.raises(ValueError, match=said) as e: named_network(arch, 4)
        assert arch in str(e.value)

def test_files_of_anybody(at, tmp_path):
    state = load_file(at/'net.safetensors')
    parallel = {f'module.{n}': t for n,t in state.items()}
    for i,what in enumerate((parallel, dict(state_dict=parallel, epoch=3, best=0.7),
            dict(model=state, optimizer=dict(state={}, param_groups=[dict(lr=0.1)])),
            {f'_orig_mod.{n}': t.half() for n,t in state.items()})):
        torch.save(what, tmp_path/f'{i}.pt')
    torch.save(state, tmp_path/'old.pt', _use_new_zipfile_serialization=False)
    for f in (at/'net.pt', at/'models'/'fastai.pth', *sorted(tmp_path.glob('*.pt'))):
        net = load_weights(named_network('tinynet:net', 4), f)
        close = 1e-2 if f.name=='3.pt' else 0
        assert all(torch.allclose(t, state[n], rtol=close, atol=close)
            for n,t in net.state_dict().items()), f
        assert not net.training

def test_files_that_do_not_fit(at, tmp_path):
    net,state = named_network('tinynet:net', 4),load_file(at/'net.safetensors')
    f = tmp_path/'f.safetensors'
    def fails(what, *said, net=net):
        save_file(what, f)
        before = {n: t.clone() for n,t in net.state_dict().items()}
        with pytest.raises(ValueError) as e: load_weights(net, f)
        for s in said: assert s in str(e.value), e.value
        assert same_state(net.state_dict(), before)
    fails({n: t for n,t in state.items() if n!='7.bias'}, 'it lacks: 7.bias')
    fails(state | {'extra': torch.ones(1)}, 'the network has not: extra')
    fails(state | {'9.weight': torch.ones(60, 64)}, '9.weight is (60, 64), in the network (48, 64)')
    fails(state, 'its network has 4 classes (11.weight, 11.bias), and 9 are asked for',
        net=named_network('tinynet:net', 9))
    f.write_bytes(b'nonsense')
    with pytest.raises(ValueError, match='damaged'): load_weights(net, f)
    torch.save(dict(epoch=3), f)
    with pytest.raises(ValueError, match='no weights by name'): load_weights(net, f)
    with pytest.raises(FileNotFoundError, match='no such file'): load_weights(net, tmp_path/'g')

class Runs:
    "A pickle that makes a file when it is read"
    def __init__(self, f): self.f = f
    def __reduce__(self): return open, (str(self.f), 'w')

@pytest.mark.parametrize('new', [True, False])
def test_nothing_in_a_file_is_run(at, tmp_path, new):
    bad,ran = tmp_path/'bad.pt',tmp_path/'ran'
    torch.save(dict(state_dict=dict(a=torch.ones(1)), more=Runs(ran)), bad,
        _use_new_zipfile_serialization=new)
    refused(f'forget {asked} --target tench --model {bad}', '--model', 'could run code',
        'write the weights alone')
    torch.save(named_network('tinynet:net', 4), bad, _use_new_zipfile_serialization=new)
    r = run(f'forget {asked} --target tench --model {bad}')
    assert 'could run code' in r.err and 'weights_only' not in r.err
    assert not ran.exists()

def test_resnet(at, tmp_path):
    torch.manual_seed(0)
    net = named_network('resnet18', 4)
    save_file(net.state_dict(), tmp_path/'r.safetensors')
    got = load_weights(named_network('resnet18', 4), tmp_path/'r.safetensors')
    assert same_state(got.state_dict(), net.state_dict())
    with pytest.raises(ValueError, match='1000 classes .fc.weight, fc.bias., and 4 are asked for'):
        save_file(named_network('resnet18', 1000).state_dict(), tmp_path/'k.safetensors')
        load_weights(net, tmp_path/'k.safetensors')
    r = run(f'forget --data shapes --arch resnet18 --size 16 --model {tmp_path/"r.safetensors"} '
        '--target tench --k 50 --json')
    assert r.code==0, r.err
    res = json.loads(r.out)
    assert res['arch']=='resnet18' and all(n.startswith('layer4') for n in res['layers'])

# ---- forget

@pytest.fixture(scope='module')
def done(place):
    "A run that has forgotten, by name"
    old = pytest.MonkeyPatch()
    old.chdir(place)
    r = run(f'{forget} --target tench --out run')
    old.undo()
    assert r.code==0, r.err
    return place/'run', r

def test_forget_by_name(at, done):
    out,r = done
    assert {f.name for f in out.iterdir()}=={'answers.png', 'curve.csv', 'curve.png',
        'cut.safetensors', 'model.safetensors', 'report.html', 'result.json'}
    res = json.loads((out/'result.json').read_text())
    v = res['accuracy']['validation']
    assert v['as trained']['target'] > 0.8
    assert v['cut']['target'] <= res['goal']==0.25
    assert v['cut']['retain'] >= v['as trained']['retain']-0.05
    assert v['random weights']['target'] > 0.6
    assert res['target']==3 and res['target_name']=='tench' and res['reached']
    noted = {n: res[n] for n in ('data', 'arch', 'size', 'bs', 'seed', 'classes', 'judged_on')}
    assert noted==dict(data=str(at/'shapes'), arch='tinynet:net', size=16, bs=32, seed=0,
        classes=names, judged_on='validation')
    assert 'test' not in res['accuracy'] and 'There are no test data' in r.out
    page = (out/'report.html').read_text()
    assert 'There are no test data' in page and '(validation data)' in page
    # undone to the bit
    was = load_weights(named_network('tinynet:net', 4), at/'net.safetensors')
    net = load_weights(named_network('tinynet:net', 4), out/'model.safetensors')
    cut = Cut.load(out/'cut.safetensors')
    assert len(cut)==res['cut_weights'] and not same_state(net.state_dict(), was.state_dict())
    cut.undo(net)
    assert same_state(net.state_dict(), was.state_dict())

def test_names_numbers_and_files(at, done):
    for target,model,number in (('7', 'net.pt', 0), ('disc', 'models/fastai.pth', 1)):
        r = run(f'forget {asked} --model {model} --target {target} --k 20 --json')
        assert r.code==0 and json.loads(r.out)['target']==number, r.err

def test_test_part(at, tmp_path):
    pictures(tmp_path/'p', (('train', 10), ('valid', 10), ('test', 10)), seed=1)
    r = run(f'{forget} --target tench --k 200 --out {tmp_path/"run"}'.replace('shapes',
        str(tmp_path/'p')))
    assert r.code==0 and 'right (test, %)' in r.out and 'no test data' not in r.out, r.err
    res = json.loads((tmp_path/'run'/'result.json').read_text())
    assert set(res['accuracy'])=={'validation', 'test'} and res['judged_on']=='test'

@pytest.mark.parametrize('text,said', [
    (f'{forget} --target pike', '--target pike is unknown; there are 7, disc, stripes, tench'),
    (f'{forget} --target 1', '--target 1 is unknown'),
    (f'{forget} --target disc --layers 77', 'no such layer'),
    ('forget --data none --target 1', 'there are digits, mnist, fashion, or the path of a folder'),
    ('forget --data shapes --target disc', '--arch resnet18'),
    ('forget --data digits --arch resnet18 --target 1', '--arch resnet18 with --data digits'),
    ('forget --data digits --size 8 --target 1', '--size 8'),
    (f'forget {asked} --target disc', '--model FILE'),
    (f'forget {asked} --target disc --model none.pt', '--model none.pt: there is no such file'),
    (f'{forget} --target disc --audit', '--gold FILE'),
    (f'{forget} --target disc --size 0', '--size 0 must be a whole number'),
    ('forget --data shapes/train/disc --arch resnet18 --model net.pt --target 1', '--data'),
    (f'{forget} --target disc'.replace('tinynet:net', 'resnet81'), "--arch 'resnet81' is unknown"),
    (f'{forget} --target disc'.replace('tinynet:net', 'resnet18'), '--model net.safetensors does'),
    (f'{forget} --target disc'.replace('tinynet:net', 'tinynet:needs'),
        "--arch 'tinynet:needs' needs arguments that nobody gives (depth, width); name a function"),
    (f'{forget} --target disc'.replace('tinynet:net', 'tinynet:fails'), 'no luck')])
def test_what_is_wrong_with_forget(at, text, said):
    refused(text, said)
    assert not (at/'out').exists()

def test_a_class_without_pictures_to_judge_by(at, tmp_path):
    pictures(tmp_path/'p', (('train', 10), ('valid', 10), ('test', 10)), seed=1)
    shapes = f'--data {tmp_path/"p"}'
    text = f'{forget} --target tench --out {tmp_path/"run"}'.replace('--data shapes', shapes)
    def emptied(*folders):
        for f in folders: shutil.rmtree(tmp_path/'p'/f)
    emptied('test/tench')
    refused(text, '--target tench', 'no test pictures of it')
    emptied('valid/tench')
    said = (f'--target tench: {tmp_path/"p"} has no validation pictures of it (there are some of '
        '7, disc, stripes); put some there, or name another class')
    refused(text, said)
    refused(f'audit {asked} --before net.pt --after net.pt --target tench --epochs 1'.replace(
        '--data shapes', shapes), said)
    emptied('test', 'valid/disc', 'valid/7')
    refused(text.replace('tench', 'stripes'), 'has validation pictures of it alone')
    assert not (tmp_path/'run').exists()

def test_a_goal_that_is_not_reached_is_not_a_success(at, tmp_path):
    for more in ('', '--json'):
        out = tmp_path/f'run{more}'
        r = run(f'forget {asked} --model net.safetensors --target tench --goal 0 --budget 0 '
            f'--layers 7 --criterion random --out {out} {more}')
        assert r.code==3 and not json.loads((out/'result.json').read_text())['reached'], r.err
        assert (out/'report.html').is_file()
        if more: assert json.loads(r.out)['reached'] is False
        else: assert 'NOT REACHED' in r.out and 'What may help: a larger --budget than 0' in r.out
    r = run(f'forget {asked} --model net.safetensors --target tench --k 1')
    assert r.code==0 and 'What may help: no --k' in r.out # the size that was asked for
    assert run(f'forget {asked} --model net.safetensors --target tench --k 1 --goal 0').code==3

@pytest.mark.filterwarnings('ignore:load_learner')
def test_a_learner_from_a_file(at, tmp_path):
    "As the README says: weights alone, or all of it unpickled; both forget as the first one does"
    from fastai.vision.all import ImageDataLoaders, Resize, load_learner
    dls = ImageDataLoaders.from_folder(at/'shapes', item_tfms=Resize(16), bs=32, num_workers=0)
    def new(): return Learner(dls, named_network('tinynet:net', 4), path=tmp_path)
    learn = new()
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(8, 1e-2)
    learn.save('mine')
    learn.export(tmp_path/'mine.pkl')
    loaded,unpickled = new().load('mine'),load_learner(tmp_path/'mine.pkl')
    unpickled.dls = dls
    cuts = [l.forget('tench', k=20, progress=False).cut for l in (learn, loaded, unpickled)]
    for c in cuts[1:]: assert same_state(c.indices, cuts[0].indices)
    with pytest.raises(ValueError, match='make=lambda dls'): audit(loaded, 'tench', cut=cuts[1])

# ---- audit

def test_audit_of_a_pair(at, done, tmp_path):
    golds = ' '.join(f'--gold gold{i}.safetensors' for i in range(3))
    pair = f'audit {asked} --before net.pt --after run/model.safetensors --target tench'
    r = run(f'{pair} {golds} {quick} --out {tmp_path/"a"}')
    assert r.code==0, r.err
    assert {f.name for f in (tmp_path/'a').iterdir()}=={'audit.json', 'audit.png', 'report.html',
        'result.json'}
    res = json.loads((tmp_path/'a'/'result.json').read_text())
    found = res['audit']
    assert found['verdict'] in ('suppressed', 'weakened', 'unclear') # never erased, nor present
    assert found['verdict'].upper() in r.out and found==json.loads((tmp_path/'a'/
        'audit.json').read_text())
    acc = {t['of']: t for t in found['table'] if t['measure']=='accuracy'}
    assert acc['target']['subject'] <= 0.25 < 0.8 < acc['target']['before']
    assert acc['target']['gold']==0 < 0.7 < acc['others']['gold']
    assert res['after'].endswith('model.safetensors') and res['judged_on']=='validation'
    page = (tmp_path/'a'/'report.html').read_text()
    assert 'Judged on validation data' in page and 'http' not in page

@pytest.mark.slow
def test_audit_of_what_others_did(at, tmp_path):
    "An output pushed down by somebody's own code; and nothing done at all"
    state = load_file(at/'net.safetensors')
    state['11.bias'][3] -= 100
    torch.save(dict(state_dict=state), tmp_path/'pushed.pt')
    golds = ' '.join(f'--gold gold{i}.safetensors' for i in range(3))
    both = ((tmp_path/'pushed.pt', ('suppressed', 'unclear')), ('net.pt', ('present',)))
    for after,words in both:
        r = run(f'audit {asked} --before net.safetensors --after {after} --target tench {golds} '
            f'{quick} --json')
        assert r.code==0 and json.loads(r.out)['verdict'] in words, (r.out, r.err)

@pytest.mark.slow
def test_golds_are_trained(at, done, tmp_path):
    r = run(f'audit run --arch tinynet:net --epochs 8 --lr 0.01 {quick} --path {tmp_path}')
    assert r.code==0 and 'never see \'tench\', for 8 epochs' in r.err, r.err
    res = json.loads((at/'run'/'result.json').read_text())
    acc = {t['of']: t for t in res['audit']['table'] if t['measure']=='accuracy'}
    golds = [acc['others'][g] for g in ('gold', 'second gold', 'third gold')]
    assert min(golds) > 0.7 and len(set(map(str, acc['target'].values()))) > 1
    assert res['audit']['cost']['anew']==8*120
    assert 'id="audit"' in (at/'run'/'report.html').read_text()
    # what was trained is named, and does in the place of a second training
    kept = re.findall(r'--gold (\S+)', r.err)
    again = run('audit run --arch tinynet:net ' + ' '.join(f'--gold {f}' for f in kept) +
        f' {quick} --json')
    assert len(kept)==3 and again.code==0, again.err
    acc = {t['of']: t for t in json.loads(again.out)['table'] if t['measure']=='accuracy'}
    assert [acc['others'][g] for g in ('gold', 'second gold', 'third gold')]==golds

def test_a_file_alone_runs_no_code(at, done, tmp_path, monkeypatch):
    "A run says which function builds its network; it is not run for that"
    shutil.copytree(at/'run', tmp_path/'run')
    (tmp_path/'evil.py').write_text('raise SystemExit("it ran")')
    monkeypatch.syspath_prepend(tmp_path)
    f = tmp_path/'run'/'result.json'
    f.write_text(f.read_text().replace('tinynet:net', 'evil:net'))
    refused(f'audit {tmp_path}/run --epochs 1', 'was changed after the run wrote it')
    res = json.loads(f.read_text()) # whoever changed it can sign it too
    res['run'] = run_id(res)
    f.write_text(json.dumps(res | dict(checksum=digest(res, ('checksum',)))))
    refused(f'audit {tmp_path}/run --epochs 1', 'evil:net', 'if you trust it, give --arch evil:net')

@pytest.mark.parametrize('text,said', [
    ('audit', '--before, --after, --data, --target missing'),
    ('audit --before net.pt --after net.pt --data shapes', '--target missing'),
    (f'audit {asked} --before net.pt --after net.pt --target tench', '--epochs N'),
    (f'audit {asked} --before none.pt --after net.pt --target tench --epochs 1',
        '--before none.pt'),
    (f'audit {asked} --before net.pt --after net.pt --target pike --epochs 1', '--target pike'),
    ('audit --before net.pt --after net.pt --data shapes --target tench --epochs 1', '--arch'),
    ('audit run --arch tinynet:net', '--epochs N'),
    ('audit run --arch tinynet:net --before net.pt --epochs 1', '--before net.pt: it goes with'),
    ('audit run --arch tinynet:net --epochs 1 --gold net.pt', '--epochs 1 with --gold'),
    ('audit run --arch tinynet:net --gold net.pt --repeats 1', 'it was trained with it'),
    ('audit run --arch tinynet:net --epochs 1 --lr 0', '--lr 0.0'),
    ('audit run --arch tinynet:net --data none --epochs 1', '--data'),
    ('audit --before net.pt --after net.pt --data digits --target 7 --epochs 1',
        'is not a safetensors file')])
def test_what_is_wrong_with_audit(at, done, text, said): refused(text, said)

def test_a_run_whose_pictures_were_moved(at, done, tmp_path):
    os.rename(at/'shapes', at/'moved')
    try: refused('audit run --arch tinynet:net --epochs 1', 'there is no folder', '--data FOLDER')
    finally: os.rename(at/'moved', at/'shapes')
    pictures(tmp_path/'other', classes=['a', 'b', 'c', 'd'], parts=(('train', 2), ('valid', 1)))
    refused(f'audit run --arch tinynet:net --epochs 1 --data {tmp_path}/other',
        'its classes are not those of the run')
