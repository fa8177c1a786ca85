"What the rows of a sweep say: means, intervals, figures"
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from forgetprune.seeds import *
from forgetprune.sweep import *

def test_any_column_may_lie_along_the_axis():
    df = pd.DataFrame([dict(n=n, seed=s, y=10*n+s) for n in (4, 16) for s in range(3)])
    with pytest.raises(ValueError, match="by: 'n'"): over_seeds(df, 'n')
    ax = plot_sweep(df, 'n', 'y').axes[0]
    drawn = [c for c in ax.containers][0].lines[0]
    assert drawn.get_xdata().tolist()==[4, 16] and drawn.get_ydata().tolist()==[41, 161]

def test_ticks_are_the_sizes_that_were_run():
    df = pd.DataFrame([dict(n=n, kind=k, seed=s, y=n+s) for n in (4, 16, 64, 4096) for k in 'ab'
        for s in range(3)])
    ax = plot_sweep(df, 'n', 'y', 'kind', logx=True).axes[0]
    assert ax.get_xscale()=='log'
    assert [t.get_text() for t in ax.get_xticklabels()]==['4', '16', '64', '4,096']
    assert ax.get_xlim()[0] < 4 and 4096 < ax.get_xlim()[1]
    ax = plot_sweep(df, 'n', 'y').axes[0] # 4, 16 and 64 would lie on top of each other
    assert ax.get_xscale()=='linear'
    assert [t.get_text() for t in ax.get_xticklabels()]!=['4', '16', '64', '4,096']
    for bad in (df.assign(n=df.n-4), df.assign(n='a')):
        with pytest.raises(ValueError, match='logx'): plot_sweep(bad, 'n', 'y', logx=True)

@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_interval_is_that_of_students_t(ys):
    from scipy import stats
    df = over_seeds(pd.DataFrame(dict(c='a', seed=range(len(ys)), y=ys)), 'c').iloc[0]
    if np.std(ys) > 1e-6:
        low,high = stats.t.interval(0.95, len(ys)-1, np.mean(ys), stats.sem(ys))
        assert np.allclose([df.low, df.high], [low, high])

def test_spread_leaves_failures_out_and_names_columns():
    df = pd.DataFrame(dict(c=['a']*3, seed=range(3), y=[1., 2., 9.], error=[None, None, 'oh']))
    assert over_seeds(df, 'c').iloc[0]['n']==2 and over_seeds(df, 'c', 'y').iloc[0]['mean']==1.5
    with pytest.raises(ValueError, match="no column 'd'"): over_seeds(df, 'd')
    with pytest.raises(ValueError, match='nothing to draw'):
        plot_sweep(df.assign(error='x'), 'c', 'y')
