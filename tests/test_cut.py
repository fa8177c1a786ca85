import copy, io, json, random
import pytest, torch
from hypothesis import given, settings, strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune
from conftest import same_state
from forgetprune.scores import *
from forgetprune.rivals import *
from forgetprune.cut import *
from forgetprune.curve import *
from forgetprune.watch import *
from forgetprune.layers import *
from forgetprune.networks import mlp

sizes = (4, 6, 5, 3, 2)
indices = st.fixed_dictionaries({}, optional={'1': st.lists(st.integers(0, 23), max_size=30),
    '3': st.lists(st.integers(0, 29), max_size=40), '5': st.lists(st.integers(0, 14), max_size=20)})
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])
def net(dtype=torch.float32): torch.manual_seed(0); return mlp(sizes).to(dtype)
def zeros(m):
    return {n: (p==0).flatten().nonzero().flatten().tolist() for n,p in m.named_parameters()
        if n.endswith('weight')}

@settings(max_examples=40, deadline=None)
@given(indices, dtypes)
def test_apply_undo_save_load(idx, dtype):
    m = net(dtype); before = copy.deepcopy(m.state_dict())
    cut = Cut.take(m, idx, target=7)
    assert len(cut)==sum(len(set(i)) for i in idx.values())
    cut.apply(m); cut.apply(m) # twice is once
    for n,i in idx.items(): assert set(zeros(m)[f'{n}.weight']) >= set(i)
    assert list(m.state_dict())==list(before)
    import tempfile, os
    with tempfile.TemporaryDirectory() as d:
        cut.save(f'{d}/c'); back = Cut.load(f'{d}/c')
        assert os.listdir(d)==['c']
    assert back.meta==cut.meta and back.shapes==cut.shapes and len(back)==len(cut)
    back.undo(m)
    assert same_state(m.state_dict(), before)

def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match='there is no folder .*nodir; make it first'):
        Cut.take(net(), {'1': [0]}).save(tmp_path/'nodir'/'c')
    assert not list(tmp_path.iterdir())

@settings(max_examples=40, deadline=None)
@given(indices, indices, dtypes, st.booleans())
def test_union(a, b, dtype, applied):
    m = net(dtype); before = copy.deepcopy(m.state_dict())
    ca = Cut.take(m, a)
    if applied: ca.apply(m) # then b sees zeros where a has been
    cb = Cut.take(m, b)
    if applied: ca.undo(m)
    for u in (ca|cb, cb|ca):
        assert {n: i.tolist() for n,i in u.indices.items()}=={n: sorted(set(a.get(n, []))
            | set(b.get(n, []))) for n in {*a, *b}}
        one = copy.deepcopy(m); u.apply(one)
        two = copy.deepcopy(m)
        (ca.retake(two) if applied else ca).apply(two)
        (cb.retake(two) if applied else cb).apply(two)
        assert same_state(one.state_dict(), two.state_dict())
        u.undo(one)
        assert same_state(one.state_dict(), before)
    assert len(ca|ca)==len(ca)

def test_negative_zero_and_nan_positions_survive():
    m = net(); m[3].weight.data[0,0] = -0.
    before = m[3].weight.detach().clone()
    c = Cut.take(m, {'3': [0, 1]}); c.apply(m); c.undo(m)
    assert torch.equal(m[3].weight.view(torch.int32), before.view(torch.int32))

def test_wrong_models():
    m,c = net(),Cut.take(net(), {'3': [0, 1], '5': [2]})
    for bad,said in ((mlp((4, 6, 5, 4, 2)), r"layer '5' .* shape \(4, 5\)"),
            (mlp((4, 6, 2)), "names layer '5'"), (nn.ReLU(), 'names layer')):
        before = copy.deepcopy(bad.state_dict())
        for f in (c.apply, c.undo, c.retake, c.to_torch_prune):
            with pytest.raises(ValueError, match=said): f(bad)
        assert same_state(bad.state_dict(), before)
    torch.manual_seed(9); other = mlp(sizes)
    with pytest.raises(ValueError, match='retake'): c.apply(other)
    with pytest.raises(ValueError, match='different'): c | Cut.take(other, {'3': [1]})
    with pytest.raises(ValueError, match='shape'): c | Cut.take(mlp((4, 6, 9, 3, 2)), {'3': [1]})
    with pytest.raises(ValueError, match='weights 0 to 29'): Cut.take(m, {'3': [30]})
    with pytest.raises(ValueError, match='weights 0 to 29'): Cut.take(m, {'3': [-1]})

def test_masks_floats_and_trained_weights():
    m = net(); mask = torch.zeros(5, 6, dtype=torch.bool); mask[1,2] = mask[4,0] = True
    c = Cut.take(m, {'3': mask})
    assert c.indices['3'].tolist()==[8, 24]
    with pytest.raises(ValueError, match='mask for layer'): Cut.take(m, {'3': mask.T})
    with pytest.raises(ValueError, match='integers or a mask'): Cut.take(m, {'3': [1.7, 2.2]})
    c.apply(m); m[3].weight.data[1,2] = 0.5 # trained on
    with pytest.raises(ValueError, match='trained on'): c.undo(m)

def test_damaged_files(tmp_path):
    c,p = Cut.take(net(), {'3': [3, 8, 9]}),tmp_path/'c'
    c.save(p)
    whole = p.read_bytes()
    p.write_bytes(whole[:-5])
    with pytest.raises(ValueError, match='not a safetensors file'): Cut.load(p)
    p.write_bytes(b'')
    with pytest.raises(ValueError, match='not a safetensors file'): Cut.load(p)
    torch.save({'x': 1}, p)
    with pytest.raises(ValueError, match='not a safetensors file'): Cut.load(p)
    with pytest.raises(FileNotFoundError, match='no such file'): Cut.load(tmp_path/'none')
    for bad in ([3, 3, 9], [3, 8, 30], [-1, 8, 9], [9, 8, 3]):
        Cut({'3': torch.tensor(bad)}, c.values, c.shapes).save(p)
        with pytest.raises(ValueError, match="damaged: its entries for layer '3'"): Cut.load(p)
    save_file({'a': torch.ones(1)}, p)
    with pytest.raises(ValueError, match='holds no cut'): Cut.load(p)

def test_pruned_model_is_an_ordinary_model(tmp_path, learn, sevens):
    m,x = learn.model.eval(),torch.rand(5, 1, 8, 8)
    keys,y = list(m.state_dict()),None
    cut = largest(m, maav_difference(m, *sevens), 300)
    cut.apply(m)
    y = m(x)
    assert list(m.state_dict())==keys and type(m[3]) is nn.Linear and not m[3]._forward_pre_hooks
    assert torch.equal(copy.deepcopy(m)(x), y)
    torch.save(m.state_dict(), tmp_path/'sd.pt')
    fresh = mlp((64, 48, 40, 24, 10))
    fresh.load_state_dict(torch.load(tmp_path/'sd.pt', weights_only=True))
    assert torch.equal(fresh(x), y)
    b = io.BytesIO(); torch.save(m, b); b.seek(0)
    assert torch.equal(torch.load(b, weights_only=False)(x), y)
    exported = torch.export.export(m, (x,))
    assert torch.allclose(exported.module()(x), y, atol=1e-6)
    compiled = torch.compile(m, backend='eager')
    assert torch.equal(compiled(x), y)
    cut.undo(compiled) # names look through the wrapper
    assert same_state(m.state_dict(), learn.model.state_dict()) and not torch.equal(m(x), y)

def test_torch_prune_round_trip():
    m = net(); x = torch.rand(3, 4)
    c = Cut.take(m, {'3': [0, 5, 29], '5': [14]})
    masked = c.to_torch_prune(copy.deepcopy(m))
    assert torch.equal(masked(x), c.apply(copy.deepcopy(m))(x))
    back = Cut.from_torch_prune(masked)
    assert all(torch.equal(back.indices[n], c.indices[n]) and torch.equal(back.values[n],
        c.values[n]) for n in c.indices)
    with pytest.raises(ValueError, match='make it permanent first'): c.apply(masked)
    for n in c.indices: prune.remove(dict(masked.named_modules())[n], 'weight')
    back.undo(masked)
    assert same_state(dict(sorted(masked.state_dict().items())),
        dict(sorted(m.state_dict().items())))
    with pytest.raises(ValueError, match='no masks'): Cut.from_torch_prune(m)

def test_torch_prune_of_a_cut_model():
    m = net(); before = m[3].weight.detach().clone()
    c = Cut.take(m, {'3': [0, 5]}); c.apply(m); c.to_torch_prune(m)
    assert torch.equal(m[3].weight_orig, before)
    assert torch.equal(Cut.from_torch_prune(m).values['3'], c.values['3'])

def test_transposed_storage():
    m = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2))
    m[1].weight = nn.Parameter(torch.randn(4, 5).T) # not contiguous
    before = m[1].weight.detach().clone()
    c = Cut.take(m, {'1': [1, 7]}); c.apply(m)
    assert m[1].weight[0,1]==0 and m[1].weight[1,3]==0 and (m[1].weight==0).sum()==2
    c.undo(m)
    assert torch.equal(m[1].weight, before)

@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.data())
def test_top_indices(values, data):
    "Highest first, of equal ones the first; smaller selections are part of larger ones"
    s,k = torch.tensor(values, dtype=torch.float),data.draw(st.integers(0, len(values)))
    want = sorted(sorted(range(len(values)), key=lambda i: (-values[i], i))[:k])
    assert top_indices(s, k).tolist()==want

def test_largest_arguments():
    m = net(); s = {'3': torch.rand(5, 6), '5': torch.rand(3, 5)}
    assert len(largest(m, s, 10**9))==45 and len(largest(m, s, 1.0))==45
    assert len(largest(m, s, 0))==0 and len(largest(m, s, 0.5))==15+8
    for bad,said in ((-1, 'negative'), (1.5, 'between 0 and 1'), (True, 'must be a number'),
            ('3', 'must be a number')):
        with pytest.raises(ValueError, match=said): largest(m, s, bad)
    with pytest.raises(ValueError, match='NaN'):
        largest(m, {'3': torch.full((5, 6), float('nan'))}, 1)
    with pytest.raises(ValueError, match='shape'): largest(m, {'3': torch.rand(6, 5)}, 1)
    with pytest.raises(ValueError, match='empty'): largest(m, {}, 1)

def test_union_keeps_signs_of_zeros():
    m = mlp((6, 5, 4, 3))
    m[3].weight.data[0,0] = -0.
    before = m[3].weight.detach().clone()
    a,b = Cut.take(m, {'3': [0, 5]}),Cut.take(m, {'3': [5, 7]})
    (a | b).apply(m)
    (a | b).undo(m)
    assert torch.equal(before.view(torch.int32), m[3].weight.view(torch.int32))

def test_masks_refuse_another_model():
    m = mlp((6, 5, 4, 3))
    c = Cut.take(m, {'3': [0, 5]})
    other = copy.deepcopy(m)
    other[3].weight.data += 1
    with pytest.raises(ValueError, match='another model, or was trained since'):
        c.to_torch_prune(other)

def test_a_block_leaves_weights_as_it_found_them():
    "Cut before, cut after; whatever is trained or raised meanwhile"
    net = mlp((4, 6, 5, 3, 2))
    whole,cut = copy.deepcopy(net.state_dict()),Cut.take(net, {'3': [7, 0], '5': [14]})
    cut.apply(net)
    with cut.on(net):
        with cut.on(net): pass
        assert net[3].weight.view(-1)[7]==0
    assert net[3].weight.view(-1)[7]==0
    cut.undo(net)
    with pytest.raises(KeyError, match='mine'), cut.on(net), torch.no_grad():
        net[3].weight.add_(1)
        raise KeyError('mine')
    w = net[3].weight.detach().view(-1)
    assert torch.equal(w[[0, 7]], whole['3.weight'].view(-1)[[0, 7]])
    assert w[1]==whole['3.weight'].view(-1)[1]+1

def test_let_go_needs_a_training():
    net = mlp((4, 6, 5, 3, 2))
    with pytest.raises(ValueError, match='nothing was trained'):
        KeepCut(Cut.take(net, {'3': [7]})).let_go(None, torch.tensor([0]))

@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 29), min_size=1, max_size=12), min_size=2, max_size=4),
    st.randoms(use_true_random=False))
def test_overlapping_cuts_are_undone_in_any_order(places, rand):
    torch.manual_seed(0)
    m = mlp((4, 6, 5, 3, 2))
    m[3].weight.data.view(-1)[:3] = torch.tensor([-0., 0., 1.]) # signs of zeros come back too
    before,cuts = copy.deepcopy(m.state_dict()),[]
    for i in places:
        cuts.append(Cut.take(m, {'3': i}))
        cuts[-1].apply(m)
    rand.shuffle(cuts)
    for c in cuts: c.undo(m)
    for n,t in m.state_dict().items():
        assert torch.equal(t, before[n]) and torch.equal(t.signbit(), before[n].signbit())

def test_no_wrong_bit_comes_back(tmp_path):
    "A file of which any bit is wrong is refused, or says what was saved"
    m = net(); m[5].weight.data[0,0] = 0
    c = Cut.take(m, {'1': [2, 3, 20], '3': list(range(0, 30, 3)), '5': [0, 14]}, target=7)
    c.save(tmp_path/'c')
    whole,r = (tmp_path/'c').read_bytes(),random.Random(0)
    for _ in range(400):
        b = bytearray(whole); b[r.randrange(len(b))] ^= 1 << r.randrange(8)
        (tmp_path/'c').write_bytes(b)
        try: back = Cut.load(tmp_path/'c')
        except ValueError: continue
        assert back.meta==c.meta and back.shapes==c.shapes
        assert all(torch.equal(back.indices[n], i) for n,i in c.indices.items())
        assert all(torch.equal(back.values[n].view(torch.int32), v.view(torch.int32))
            for n,v in c.values.items())

def test_a_file_without_its_checksum(tmp_path):
    "One of version 0.1.0, and one of ours from which the checksum was taken away"
    Cut.take(net(), {'3': [3, 8]}).save(tmp_path/'c')
    with safe_open(tmp_path/'c', 'pt') as f:
        noted,t = f.metadata(),{n: f.get_tensor(n) for n in f.keys()}
    said = json.loads(noted['forgetprune'])
    note = json.loads(said['note'])
    for n in (dict(note, format=1), note):
        save_file(t, tmp_path/'c', metadata=dict(forgetprune=json.dumps(n)))
        with pytest.raises(ValueError, match='has no checksum'): Cut.load(tmp_path/'c')
    other = dict(note=said['note'], sha257=said['sha256'])
    more = dict(noted, more='')
    for bad in (more, dict(forgetprune=json.dumps(other))):
        save_file(t, tmp_path/'c', metadata=bad)
        with pytest.raises(ValueError, match='damaged'): Cut.load(tmp_path/'c')

def test_values_are_finite_and_of_the_type_of_the_weight(tmp_path):
    c = Cut.take(net(), {'3': [3, 8]})
    for v in (torch.tensor([float('nan'), 1.]), torch.tensor([float('inf'), 1.])):
        Cut(c.indices, {'3': v}, c.shapes).save(tmp_path/'c')
        with pytest.raises(ValueError, match='no cut'): Cut.load(tmp_path/'c')
    m = net(); m[3].weight.data.view(-1)[8] = float('inf')
    with pytest.raises(ValueError, match="layer '3' holds values that are not finite"):
        Cut.take(m, {'3': [3, 8]})
    assert len(Cut.take(m, {'3': [3]}))==1 # the others are as they were
    for dtype in (torch.bfloat16, torch.float64):
        Cut.take(net(dtype), {'3': [3, 8]}).save(tmp_path/'c')
        assert Cut.load(tmp_path/'c').values['3'].dtype==dtype

@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)

def test_where_only_deterministic_algorithms_are_allowed(deterministic, digits):
    m = net(); m[3].weight = nn.Parameter(torch.randn(6, 5).T) # not contiguous
    before = copy.deepcopy(m.state_dict())
    c = Cut.take(m, {'3': [0, 5, 29], '5': [14]})
    c.apply(m)
    assert m[3].weight[0,5]==0 and (m[3].weight==0).sum()==3
    masked = c.to_torch_prune(copy.deepcopy(m))
    assert torch.equal(masked[3].weight, m[3].weight)
    c.undo(m)
    with c.on(m): assert m[5].weight.view(-1)[14]==0
    assert same_state(m.state_dict(), before)
    from forgetprune.training import get_learner
    l = get_learner(digits, dict(name='mlp', sizes=(64, 8, 6, 10)))
    with l.no_bar(), l.no_logging(): l.fit(1, 0.1, cbs=KeepCut(k := Cut.take(l.model, {'3': [7]})))
    assert l.model[3].weight.view(-1)[7]==0 and len(k)==1

def test_a_full_disk_is_said_with_the_file(tmp_path, monkeypatch):
    import forgetprune.networks as N
    def full(*args, **kw):
        raise N.SafetensorError('Error while serializing: I/O error: No space left on device '
            '(os error 28)')
    monkeypatch.setattr(N, 'save_file', full)
    c = Cut.take(net(), {'3': [0]})
    with pytest.raises(OSError, match='No space left') as e: c.save(tmp_path/'c')
    assert e.value.errno==28 and e.value.filename==str(tmp_path/'c')
    assert not list(tmp_path.iterdir())
