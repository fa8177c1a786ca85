// One button to show all code of a chapter; tables of many columns that say on a phone what a cell is;
// terms that tell their meaning on a touch, and fall silent on Escape; printed tables that keep their
// lines; a side bar that shows where one is
addEventListener('DOMContentLoaded', () => {
  const folded = [...document.querySelectorAll('details.code')], when = document.querySelector('p.when')
  if (when && folded.length > 2) {
    const b = document.createElement('button')
    const all = open => { b.textContent = open ? 'Fold the code' : 'Show all code'; b.setAttribute('aria-pressed', open) }
    b.type = 'button'; b.className = 'unfold'; all(false)
    b.onclick = () => {
      const open = b.getAttribute('aria-pressed') !== 'true'
      for (const d of folded) d.open = open
      all(open)
    }
    when.append(' ', b)
  }
  // what is linked to may be folded away
  const reveal = () => {
    const at = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)))
    const inside = at && (at.closest('details') || at.querySelector?.('details.body'))
    if (inside) inside.open = true
  }
  reveal(); addEventListener('hashchange', reveal)
  for (const t of document.querySelectorAll('article table.docutils:not(.dataframe)')) {
    const heads = [...t.querySelectorAll('thead th')].map(h => h.textContent.trim())
    if (heads.length < 4) continue
    for (const r of t.querySelectorAll('tbody tr')) [...r.cells].forEach((c, i) => {
      if (i && heads[i] && c.textContent.trim()) c.dataset.head = heads[i]
    })
  }
  // where there is room for one column of labels, the first row of a group bears the group's as well
  for (const t of document.querySelectorAll('table.dataframe.labels2')) {
    const firsts = [...t.rows].map(r => r.cells[0]).filter(c => c.tagName === 'TH' || c.closest('thead'))
    if (firsts.some(c => c.colSpan > 1)) continue
    let left = 0
    for (const r of t.rows) {
      if (left) { left--; continue }
      const c = r.cells[0]
      c.classList.add('group'); left = c.rowSpan - 1
      if (c.textContent.trim() && r.parentElement.tagName === 'TBODY')
        r.cells[1].dataset.group = c.textContent.trim()
    }
  }
  for (const t of document.querySelectorAll('a.term')) {
    // a first touch tells, a second one leads to the glossary
    let told = false
    t.addEventListener('pointerdown', () => { told = document.activeElement === t })
    t.addEventListener('click', e => {
      if (matchMedia('(hover: none)').matches && !told) { e.preventDefault(); t.focus() }
    })
    // to the left where there is no room on the right
    const place = () => {
      const tip = t.nextElementSibling
      tip.style.left = '0'
      const over = tip.getBoundingClientRect().right - document.documentElement.clientWidth + 8
      if (over > 0) tip.style.left = `${-over}px`
    }
    t.addEventListener('focus', place); t.parentElement.addEventListener('mouseenter', place)
  }
  // printed tables keep their lines
  for (const p of document.querySelectorAll('div.cell_output pre')) {
    const aligned = p.textContent.split('\n').filter(l => /\S {3,}\S/.test(l)).length > 2
    p.classList.toggle('columns', aligned)
  }
  // of a long list of chapters the part around this one
  const here = document.querySelector('.sidebar-tree .current-page'), list = document.querySelector('.sidebar-scroll')
  if (here && list && here.getBoundingClientRect().bottom > innerHeight)
    list.scrollTop += here.getBoundingClientRect().top - innerHeight/3
  // what is wider than its column is moved by keys as well, and a table says so
  const movable = () => {
    for (const p of document.querySelectorAll('pre')) if (p.scrollWidth > p.clientWidth) p.tabIndex = 0
    for (const t of document.querySelectorAll('div.cell_output table.dataframe')) {
      const box = t.parentElement, wide = t.offsetWidth > box.clientWidth + 2
      let hint = box.nextElementSibling
      if (!hint?.matches('.sideways')) {
        if (!wide) continue
        hint = document.createElement('span')
        hint.className = 'sideways'; hint.textContent = 'Wider than this screen: move it sideways.'
        box.after(hint)
      }
      hint.style.display = wide ? '' : 'none'
    }
  }
  movable(); addEventListener('resize', movable); document.addEventListener('toggle', movable, true)
  for (const b of document.querySelectorAll('button.copybtn')) b.setAttribute('aria-label', 'Copy the code')
  addEventListener('keydown', e => {
    if (e.key === 'Escape') document.querySelectorAll('.told').forEach(t => t.classList.add('quiet'))
  })
  addEventListener('pointermove', e => e.target.closest?.('.told') || document.querySelectorAll('.told.quiet').forEach(t => t.classList.remove('quiet')))
})
