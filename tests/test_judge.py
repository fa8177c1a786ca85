"Where a network stands between those that know nothing and one that knows"
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from forgetprune.judge import *

golds = ['gold', 'second gold', 'third gold']
def table(*subjects, known=10., spread=0.1):
    "Logs of images: one row per witness"
    at = [100/(1+spread), 100., 100*(1+spread)]
    rows = [dict(subject=s, **{'row zeroed': known}, **dict(zip(golds, at))) for s in subjects]
    kinds = [('teaches', 'one'), ('reads', 'one'), ('reads', 'other')][:len(rows)]
    return np.log(pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(kinds)))

def word(*subjects, accuracy=0., others=(0.98, 0.98), **kw):
    return verdict(accuracy, others, by_kind(weigh(table(*subjects, **kw), golds)))[0]

@pytest.mark.parametrize('subjects,want', [((100, 100), 'erased'), ((100, 10), 'unclear'),
    ((5, 100), 'unclear'), ((5, 5), 'suppressed'), ((5, 50), 'weakened'), ((400, 400), 'erased'),
    ((95, 90), 'erased'), ((5, 100, 5), 'suppressed')])
def test_words(subjects, want): assert word(*subjects)==want

def test_what_is_broken_or_cannot_be_seen_is_unclear():
    assert word(10, 10, others=(0.8, 0.98))=='unclear' # others were lost
    assert word(100, 100, known=95)=='unclear' # known is like gold
    with pytest.raises(ValueError, match='give two'): word(100) # one kind alone
    assert word(10, 10, accuracy=0.9, others=(0.1, 0.98))=='unclear' # all is called so

def test_a_witness_that_sees_nothing_is_not_asked():
    w = weigh(table(10., known=95.), golds)
    assert not w.asked.any() and w.place.isna().all() and by_kind(w).isna().all(axis=None)

def test_golds_that_differ_hide_what_is_small():
    assert word(50, 50)=='weakened' and word(50, 50, spread=0.5)=='unclear'
    assert word(100, 100, spread=0.15)=='erased' and word(100, 100, spread=0.3)=='unclear'

def test_no_word_without_knowing_how_far_golds_reach():
    kinds = by_kind(weigh(table(100., 100.), golds)).assign(reach=np.nan)
    assert verdict(0., (0.98, 0.98), kinds)[0]=='unclear'

@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(-3, 3))
def test_limits_move_with_nothing(g, by):
    assert gold_limit([v+by for v in g])==pytest.approx(gold_limit(g), abs=1e-6)
    assert gold_limit(g) >= verdict_rules['least'] and gold_limit(g[::-1])==pytest.approx(
        gold_limit(g))

def test_without_a_silenced_network_a_fifth_stands_for_it():
    w = weigh(table(20., 100.).drop(columns='row zeroed'), golds)
    assert w.place.round(2).tolist()==[1, 0] and w.asked.all()

def test_no_verdict_without_numbers():
    with pytest.raises(ValueError, match='not a number'): weigh(table(float('nan')), golds)
    with pytest.raises(ValueError, match='no column'): weigh(table(10.), ['golden'])
    with pytest.raises(ValueError, match='one or more'): weigh(table(10.), [])
    for bad in (dict(accuracy=float('nan')), dict(others=(float('nan'), 1.)), dict(accuracy=97.)):
        with pytest.raises(ValueError, match='not a number'): word(10, 10, **bad)

def test_scales():
    assert np.exp(log_images([0, 5, np.nan], 50)).round(6).tolist()==[1, 5, 50]
    assert np.exp(log_errors([1, 0.75], 10)).round(6).tolist()==[0.025, 0.25]
