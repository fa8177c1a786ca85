from contextlib import nullcontext
import pytest, torch
from fastai.basics import Callback
import forgetprune.text as T
from forgetprune.data import DataError
from forgetprune.text import *

def small(**kw):
    return get_text_dls('the quick brown fox\njumps over the lazy dog\n'*40,
        **{**dict(bs=4, context=16, steps=5, n_valid=50, device='cpu'), **kw})

def test_masks_are_what_bert_does():
    x = torch.full((2000, 50), 3)
    a,y = mask_tokens(x, 9, 8, 0.2, torch.Generator().manual_seed(0))
    asked = y>=0
    assert abs(asked.float().mean()-0.2) < 0.01 and (y[asked]==3).all() and (a[~asked]==3).all()
    assert abs((a[asked]==9).float().mean()-0.8) < 0.02
    assert abs((a[asked]==3).float().mean()-(0.1+0.1/8)) < 0.01

def test_batches_depend_on_seed_and_epoch():
    a,b,c = small(seed=1),small(seed=1),small(seed=2)
    one,two,other = [list(d.train) for d in (a, b, c)]
    assert all(torch.equal(p, q) for u,v in zip(one, two) for p,q in zip(u, v)) and len(one)==5
    assert not torch.equal(one[0][0], other[0][0])
    assert not torch.equal(one[0][0], next(iter(a.train))[0])
    assert all(torch.equal(p, q) for p,q in zip(a.valid.tensors, c.valid.tensors))

def test_training_text_is_not_validated_on():
    d = small()
    text = d.tokenizer.decode(d.train.tokens)
    assert len(text)==int(0.9*len('the quick brown fox\njumps over the lazy dog\n'*40))

def test_loss_looks_at_masked_positions_only():
    p,y = torch.randn(2, 3, 5),torch.tensor([[1, -100, 2], [-100, -100, 4]])
    want = torch.nn.functional.cross_entropy(p[[0, 0, 1], [0, 2, 2]], torch.tensor([1, 2, 4]))
    torch.testing.assert_close(masked_loss(p, y), want)
    p2 = p.clone(); p2[0,1] += 100
    torch.testing.assert_close(masked_loss(p2, y), want)

def test_trained_networks_are_kept(tmp_path):
    def make(**kw): return lm_learner(small(), d_model=16, n_layers=1, n_heads=2, d_ff=16, **kw)
    a,b = make(),make()
    with a.no_bar(), a.no_logging(): train_lm(a, tmp_path)
    assert len(list(tmp_path.iterdir()))==1
    b.fit = None # not called
    train_lm(b, tmp_path)
    for p,q in zip(a.model.parameters(), b.model.parameters()): assert torch.equal(p, q)
    with make(wd=0.1).no_bar(): pass
    c = make(wd=0.1)
    with c.no_bar(), c.no_logging(): train_lm(c, tmp_path)
    assert len(list(tmp_path.iterdir()))==2

def test_decay_coupled_or_not():
    def end(opt, wd):
        l = lm_learner(small(), d_model=16, n_layers=1, n_heads=2, d_ff=16, opt=opt, wd=wd)
        with l.no_bar(), l.no_logging(): warm_fit(l, 2)
        return l.model.blocks[0].ff.up.weight.detach()
    assert torch.equal(end('adamw', 0.), end('l2', 0.))
    assert not torch.equal(end('adamw', 0.3), end('l2', 0.3))
    assert end('adamw', 30.).norm() < end('adamw', 0.).norm()

def test_a_tokenizer_of_ones_own():
    class Words:
        mask_token_id = 0
        def __len__(self): return 6
        def encode(self, text): return [1+len(w)%5 for w in text.split()]
    d = get_text_dls('a bb ccc\ndddd '*100, bs=2, context=8, steps=2, tokenizer=Words(),
        device='cpu')
    assert d.c==6 and next(iter(d.train))[0].max() < 6
    class Blind(Words): mask_token_id = None
    with pytest.raises(ValueError, match='no mask token'):
        get_text_dls('a b\n'*100, tokenizer=Blind())

def bible():
    "Another edition: as long, with the verses that each has"
    signs = {0: 'In the beginning God created the heavens.', 26558: 'Jesus wept.',
        31101: 'The grace of our Lord Jesus Christ be with you all. Amen.'}
    return ''.join(signs.get(i, f'And it came to pass {"that "*22}{i}.')+'\n' for i in range(31102))

def test_what_only_counts_like_the_bible(tmp_path, monkeypatch):
    monkeypatch.setattr(T, 'from_address', None) # not called
    f = tmp_path/'text'/'kjv.txt'; f.parent.mkdir()
    for other in ('a\n'*31102, f'{"a"*130}\n'*31102, bible().replace('Jesus wept', 'He smiled'),
            ''.join(f'{"a"*130} {i}\n' for i in range(31102))):
        f.write_text(other)
        with pytest.raises(DataError, match='another file'): get_text('kjv', tmp_path)
    assert not (f.parent/'kjv.txt.sha256').exists()

def test_a_wrong_letter_is_noticed(tmp_path):
    "In any edition, once it was accepted"
    f = tmp_path/'text'/'kjv.txt'; f.parent.mkdir()
    f.write_text(bible())
    assert get_text('kjv', tmp_path)==bible()
    f.write_text(bible().replace('12345.', '12346.'))
    with pytest.raises(DataError, match=r'its checksum is not the one in .*kjv.txt.sha256'):
        get_text('kjv', tmp_path)
    f.write_text(bible())
    note = f.with_name('kjv.txt.sha256')
    whole = note.read_bytes()
    for i in (0, 30, 63): # any digit; blanks and the name behind it say nothing
        note.write_bytes(whole[:i]+bytes([whole[i]^1])+whole[i+1:])
        with pytest.raises(DataError, match='kjv.txt.sha256'): get_text('kjv', tmp_path)
    for bad in (b'', whole[:20], b'\xff'):
        note.write_bytes(bad)
        with pytest.raises(DataError, match='kjv.txt.sha256'): get_text('kjv', tmp_path)
    note.write_bytes(whole)
    assert get_text('kjv', tmp_path)==bible()
    f.unlink(); f.mkdir()
    with pytest.raises(DataError, match='Move it away'): get_text('kjv', tmp_path)

def test_a_text_learner_is_exported(tmp_path):
    l = lm_learner(small(), d_model=16, n_layers=1, n_heads=2, d_ff=16)
    l.export(tmp_path/'l.pkl')
    back = torch.load(tmp_path/'l.pkl', weights_only=False)
    assert back.dls.tokenizer.vocab==l.dls.tokenizer.vocab and len(back.dls.valid.dataset)==0

def test_callbacks_that_look_on(tmp_path):
    from forgetprune.magnitudes import MagnitudeRecorder
    def made(): return lm_learner(small(), d_model=16, n_layers=1, n_heads=2, d_ff=16)
    a,rec = made(),MagnitudeRecorder(2)
    with a.no_bar(), a.no_logging(): train_lm(a, tmp_path, reuse=False, cbs=rec)
    assert rec.steps==[0, 2, 4, 5] and len(list(tmp_path.iterdir()))==1
    with pytest.raises(ValueError, match='cbs=.*looks_on'):
        train_lm(made(), tmp_path, cbs=Callback())
    train_lm(b := made(), tmp_path)
    assert all(map(torch.equal, a.model.parameters(), b.model.parameters()))

def test_sources_in_turn(tmp_path, monkeypatch):
    verses = ''.join(f'{i//50+1}:{i%50+1} {v} ' for i,v in enumerate(bible().splitlines()))
    def broken(name, tmp): raise OSError('no network')
    monkeypatch.setattr(T, 'from_address', broken)
    monkeypatch.setattr(T, 'from_packages', lambda name, tmp: verses)
    text = get_text('kjv', tmp_path)
    assert text.count('\n')==31102 and (tmp_path/'text'/'kjv.txt').read_text()==text
    monkeypatch.setattr(T, 'from_packages', broken)
    assert get_text('kjv', tmp_path)==text # from its file
    (tmp_path/'text'/'kjv.txt').write_text('short')
    with pytest.raises(DataError, match='damaged'): get_text('kjv', tmp_path)
    with pytest.raises(DataError, match='no network') as e: get_text('foldoc', tmp_path)
    assert 'foldoc.txt' in str(e.value)
    assert sorted(p.name for p in (tmp_path/'text').iterdir())==['kjv.txt', 'kjv.txt.sha256']

@pytest.mark.parametrize('kw,msg', [(dict(valid_pct=0.), 'valid_pct'), (dict(share=1.), 'share'),
    (dict(context=5000), 'too few')])
def test_clear_errors(kw, msg):
    with pytest.raises(ValueError, match=msg): small(**kw)
    with pytest.raises(ValueError, match='neither a file'): get_text('nowhere.txt')
    with pytest.raises(ValueError, match='opt='): lm_learner(small(), opt='adm')

def test_denormals_are_counted_again_after_an_interruption():
    tiny = torch.tensor(1e-38)
    l = lm_learner(small())
    class Stop(Callback):
        def after_batch(self): raise KeyboardInterrupt
    for cbs in ([Stop()], []):
        with l.no_bar(), l.no_logging(), (pytest.raises(KeyboardInterrupt) if cbs
                else nullcontext()):
            l.fit(1, cbs=cbs)
    assert (tiny*1e-3).item() > 0

def test_a_file_is_for_one_training(tmp_path):
    l = lm_learner(small())
    with l.no_bar(), l.no_logging():
        train_lm(l, tmp_path)
        with pytest.raises(ValueError, match='trained already'): train_lm(l, tmp_path, reuse=False)
        train_lm(l, tmp_path) # from its file

@pytest.mark.parametrize('kw', [dict(bs=0), dict(context=0), dict(steps=-1), dict(n_valid=0),
    dict(seed='a'), dict(bs=2.5)])
def test_sizes_are_checked(kw):
    with pytest.raises(ValueError, match=f'{list(kw)[0]}='): small(**kw)

def test_texts_of_all_kinds(tmp_path):
    assert get_text_dls('hello world '*500, n_valid=5, device='cpu').c
    (tmp_path/'x.txt').write_bytes(b'abc \xff\xfe')
    with pytest.raises(ValueError, match='x.txt.* is not text in UTF-8'): get_text(tmp_path/'x.txt')
