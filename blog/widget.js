// Try it in the page: cut weights of a small network, watch its outputs, teach it again. The
// numbers come from tools/widget.py; nothing is asked of anybody else.
(() => {
'use strict'
const script = document.currentScript
const folder = script.src.replace(/[^/]*$/, ''), numbers = folder + script.dataset.numbers
const words = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
const side = 28, pixels = side*side

// ---- numbers

const kinds = {i1: Int8Array, u1: Uint8Array, u4: Uint32Array, f4: Float32Array}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0))
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
  const all = await new Response(plain).arrayBuffer()
  const size = new DataView(all).getUint32(0, true)
  const said = JSON.parse(new TextDecoder().decode(new Uint8Array(all, 4, size)))
  for (const [name, p] of Object.entries(said.parts)) {
    const from = 4 + size + p.at
    said.parts[name] = new kinds[p.type](all.slice(from, from + p.size))
  }
  return said
}

// 'fpWidget(...)' is all that the file of numbers says, so that it can be read from a disk as well
const fetched = () => new Promise((done, failed) => {
  window.fpWidget = text => unpacked(text).then(done, failed)
  const s = document.createElement('script')
  s.src = numbers
  s.onerror = () => failed(new Error('no numbers'))
  document.head.append(s)
})

// ---- the network: weights lie input by input, so that a dark input costs nothing

function networkOf(said, name) {
  const w = [], b = []
  said.grids.forEach((grid, l) => {
    const steps = said.parts['w' + l], more = name === 'gold' && said.parts['gold_w' + l]
    const own = new Float32Array(steps.length)
    for (let i = 0; i < own.length; i++) own[i] = (more ? steps[i] + more[i] : steps[i])*grid
    w.push(own)
    b.push(said.parts[(more ? 'gold_b' : 'b') + l])
  })
  return {w, b, sizes: said.sizes}
}

const sums = new Float64Array(1024)

// what layer `l` hands on
function through(net, l, x) {
  const n = net.sizes[l + 1], w = net.w[l], last = l === net.w.length - 1
  const z = sums.subarray(0, n), out = new Float32Array(n)
  z.set(net.b[l])
  for (let j = 0; j < x.length; j++) {
    const v = x[j]
    if (v === 0) continue
    for (let i = 0, at = j*n; i < n; i++, at++) z[i] += w[at]*v
  }
  for (let i = 0; i < n; i++) out[i] = last || z[i] > 0 ? z[i] : 0
  return out
}

// what every layer hands on, the picture itself included
function allThrough(net, x, from = 0) {
  const h = [x]
  for (let l = from; l < net.w.length; l++) h.push(through(net, l, h[h.length - 1]))
  return h
}

const outputs = (net, x, from) => allThrough(net, x, from).pop()
const highest = out => out.indexOf(Math.max(...out))

// One step of stochastic gradient descent, as `relearn` makes them: squared error, summed over
// outputs, a mean over the images; momentum
const lr = 0.005, momentum = 0.9

function learn(net, images, classes) {
  net.moved ??= {w: net.w.map(w => new Float32Array(w.length)),
    b: net.b.map(b => new Float32Array(b.length))}
  const {moved} = net, every = [...net.w.map((w, l) => [w, moved.w[l]]),
    ...net.b.map((b, l) => [b, moved.b[l]])]
  for (const [, m] of every) for (let i = 0; i < m.length; i++) m[i] *= momentum
  images.forEach((x, k) => {
    const h = allThrough(net, x)
    let slope = Float64Array.from(h.pop(), (o, i) => 2*(o - (i === classes[k]))/images.length)
    for (let l = net.w.length - 1; l >= 0; l--) slope = back(net, l, h[l], slope)
  })
  for (const [w, m] of every) for (let i = 0; i < w.length; i++) w[i] -= lr*m[i]
}

// adds the gradient of layer `l`; the slope at what it takes in
function back(net, l, x, slope) {
  const n = slope.length, w = net.w[l], mw = net.moved.w[l], mb = net.moved.b[l]
  const below = l ? new Float64Array(x.length) : null
  for (let i = 0; i < n; i++) mb[i] += slope[i]
  for (let j = 0; j < x.length; j++) {
    const v = x[j]
    if (v === 0) continue // a unit of rest passes nothing back either
    let s = 0
    for (let i = 0, at = j*n; i < n; i++, at++) {
      mw[at] += v*slope[i]
      s += w[at]*slope[i]
    }
    if (l) below[j] = s
  }
  return below
}

// ---- the four networks

const names = ['cut', 'random', 'off', 'gold']

class Model {
  constructor(said) {
    this.said = said
    this.base = networkOf(said)
    this.gold = networkOf(said, 'gold')
    const images = name => {
      const grey = said.parts[name], all = new Float32Array(grey.length)
      for (let i = 0; i < all.length; i++) all[i] = grey[i]/255
      return Array.from({length: all.length/pixels},
        (_, i) => all.subarray(i*pixels, (i + 1)*pixels))
    }
    for (const n of ['target', 'others', 'taught', 'picks']) this[n] = images(n)
    this.judged = [...this.target, ...this.others]
    this.first = this.judged.map(x => through(this.base, 0, x)) // no cut of ours touches layer 0
    this.inner = said.inner.map(l => said.sizes[l]*said.sizes[l + 1])
    this.distinct = said.parts.taught_classes.filter(c => c === said.digit).length
    const last = this.base.w.length - 1, w = this.base.w[last].slice()
    for (let i = said.digit; i < w.length; i += said.sizes[last + 1]) w[i] = 0
    const b = this.base.b[last].map((v, i) => i === said.digit ? 0 : v)
    const ending = (all, own) => [...all.slice(0, last), own]
    this.off = {...this.base, w: ending(this.base.w, w), b: ending(this.base.b, b)}
    for (const net of [this.off, this.gold]) this.judge(net)
    this.reset(0)
  }

  // as they were made, with `k` weights of each inner layer cut
  reset(k) {
    const {said, base, off, gold} = this
    this.k = k
    this.steps = this.seen = 0
    this.nets = {cut: this.without('maav_difference', k), random: this.without('random', k),
      off: {...off}, gold: {...gold}}
  }

  // the network with the first `k` places of an order set to zero
  without(criterion, k) {
    const net = {...this.base, w: [...this.base.w]}
    for (const l of this.said.inner) {
      net.w[l] = net.w[l].slice()
      for (const i of this.said.parts[criterion + l].subarray(0, k)) net.w[l][i] = 0
    }
    return this.judge(net, 0)
  }

  // of all images that networks are judged by
  outputs(net) {
    const same = net.w[0] === this.base.w[0]
    return this.judged.map((x, i) => same ? outputs(net, this.first[i], 1) : outputs(net, x))
  }

  // what a network calls them, once `seen` were shown to it
  judge(net, seen = 0) {
    const {digit, goal, parts} = this.said, n = this.target.length
    const said = this.outputs(net).map(highest)
    net.calls = said.slice(0, n)
    net.right = net.calls.filter(c => c === digit).length
    net.others = said.slice(n).filter((c, i) => c === parts.classes[i]).length
    if (net.right >= goal*n) net.back ??= seen
    return net
  }

  // those that are not at the goal
  get learning() { return names.filter(n => this.nets[n].back === undefined) }
  get over() {
    return !this.learning.length || this.steps >= this.said.passes*this.taught.length/this.said.bs
  }

  // show the next images to all that are not at the goal
  teach() {
    const {bs, parts, digit} = this.said, which = this.learning
    const from = this.steps*bs % this.taught.length
    const images = this.taught.slice(from, from + bs)
    const classes = parts.taught_classes.subarray(from, from + bs)
    for (const name of which) {
      const net = this.nets[name]
      if (!net.moved) for (const p of ['w', 'b']) net[p] = net[p].map(t => t.slice())
      learn(net, images, classes)
    }
    this.steps++
    this.seen += classes.filter(c => c === digit).length
    for (const name of which) this.judge(this.nets[name], this.seen)
  }
}

// ---- what is drawn

// A drawing as MNIST has its digits: in a box of 20, in the middle by its weight
function centred(ink, n) {
  let weight = 0, x = 0, y = 0, [left, right, top, bottom] = [n, -1, n, -1]
  for (let r = 0; r < n; r++) for (let c = 0; c < n; c++) {
    const v = ink[r*n + c]
    if (v < 0.1) continue
    weight += v; x += v*c; y += v*r
    left = Math.min(left, c); right = Math.max(right, c)
    top = Math.min(top, r); bottom = Math.max(bottom, r)
  }
  const out = new Float32Array(pixels)
  if (right < 0) return null
  const scale = Math.max(right - left + 1, bottom - top + 1, n/10)/20
  const from = (v, middle) => middle + (v - side/2 - 0.5)*scale
  for (let r = 0; r < side; r++) for (let c = 0; c < side; c++) {
    let sum = 0, count = 0
    for (let a = from(r, y/weight), i = 0; i < scale; i++) {
      for (let b = from(c, x/weight), j = 0; j < scale; j++) {
        const at = [Math.round(a + i), Math.round(b + j)]
        if (at.every(v => v >= 0 && v < n)) sum += ink[at[0]*n + at[1]]
        count++
      }
    }
    out[r*side + c] = sum/count
  }
  return out
}

// ---- the page

const titles = {
  cut: ['Cut', 'the weights that serve sevens'],
  random: ['Cut at random', 'as many weights'],
  off: ['Output 7 off', 'one row of zeros'],
  gold: ['Gold', 'trained without sevens']}

const chapters = [['11_class_pruning', 'Cutting what serves one class'],
  ['14_relearning', 'Teaching sevens again']]

const shell = `
<p class="fpw-title">Make it forget the sevens</p>
<p class="fpw-lead">Four networks read the same digit. Cut weights of the first two, and see who
still says <em>seven</em>. Then show all of them sevens again.</p>
<div class="fpw-controls">
  <div class="fpw-step fpw-pick">
    <p class="fpw-head" id="fpw-pick"><b>1</b> Take a digit, or draw one</p>
    <div class="fpw-row">
      <canvas class="fpw-pad" width="280" height="280" role="img"
        aria-label="Field to draw a digit in"></canvas>
      <div><div class="fpw-picks" role="radiogroup" aria-labelledby="fpw-pick">${words.map((w, i) =>
      `<label><input type="radio" name="fpw-pick" value="${i}" aria-label="${w}"><span></span>
      </label>`).join('')}</div>
        <p class="fpw-hint">← draw your own here
          <button type="button" class="fpw-anew" hidden>Draw anew</button></p></div>
    </div>
  </div>
  <div class="fpw-step fpw-cut">
    <p class="fpw-head"><b>2</b> <label for="fpw-k">Drag to cut inner weights</label></p>
    <input type="range" id="fpw-k" min="0" max="100" value="0">
    <p class="fpw-said" id="fpw-share">&nbsp;</p>
    <p class="fpw-head fpw-again"><b>3</b> Show sevens again<span class="fpw-shown"></span></p>
    <div class="fpw-row">
      <button type="button" class="fpw-go">Relearn</button>
      <button type="button" class="fpw-reset">Start over</button>
    </div>
    <p class="fpw-status" role="status"></p>
  </div>
</div>
<div class="fpw-nets"></div>
<details class="fpw-about"><summary>What is computed here</summary></details>
<details class="fpw-figure"><summary>Larger networks in a figure</summary></details>`

const panel = name => `
<section class="fpw-net" data-net="${name}" aria-label="${titles[name].join(': ')}">
  <p class="fpw-name"><b>${titles[name][0]}</b><span>${titles[name][1]}</span></p>
  <p class="fpw-says">says <b>–</b></p>
  <div class="fpw-bars" role="img" aria-label="Outputs">${words.map((_, i) =>
    `<div><i></i><span>${i}</span></div>`).join('')}</div>
  <p class="fpw-count"></p>
  <div class="fpw-sevens" role="img" aria-label="Sevens"></div>
</section>`

class Page {
  constructor(root) {
    this.root = root
    this.fallback = [...root.childNodes]
    this.box = document.createElement('div')
    this.box.className = 'fpw'
    this.box.innerHTML = shell
    this.$('.fpw-nets').innerHTML = names.map(panel).join('')
    this.$('.fpw-figure').append(...this.fallback)
    root.append(this.box)
    this.enable(false)
    this.say('One moment: the networks are on their way.')
  }

  $(what) { return this.box.querySelector(what) }
  all(what) { return [...this.box.querySelectorAll(what)] }
  say(text) { this.$('.fpw-status').textContent = text }
  enable(yes) {
    this.box.toggleAttribute('data-waiting', !yes)
    for (const e of this.all('input, button')) e.disabled = !yes
  }

  // the figure comes back
  fail() {
    this.root.style.minHeight = 0
    this.root.replaceChildren(...this.fallback)
  }

  start(said) {
    this.said = said
    this.model = new Model(said)
    this.$('#fpw-k').max = said.inner.length*said.most_cut
    this.$('#fpw-k').step = said.inner.length*said.step
    const thumbs = this.pictures(this.model.picks)
    this.all('.fpw-picks span').forEach((s, i) => this.shows(s, thumbs, i, words.length))
    const sevens = this.pictures(this.model.target)
    for (const s of this.all('.fpw-sevens')) {
      s.innerHTML = this.model.target.map(() => '<div><i></i><b></b></div>').join('')
      s.querySelectorAll('i').forEach((e, i) => this.shows(e, sevens, i, this.model.target.length))
    }
    this.about()
    this.listen()
    this.enable(true)
    this.pick()
    this.tell()
  }

  about() {
    const {said, model} = this, p = document.createElement('p'), {length: n} = model.target
    p.textContent = `Your browser runs the networks, of ${said.sizes.join(', ')} units, which the `
      + 'library has trained on MNIST; their weights are rounded to 127 steps. Gold was trained '
      + 'likewise, with the sevens left out. Half of the cut falls on each of the two inner '
      + 'layers, where the MAAV difference is largest, or anywhere at random. Networks are judged '
      + `by the first ${n} sevens and the first ${model.others.length} other images of the test `
      + `set. Relearning is stochastic gradient descent, ${said.bs} images of all digits a step, `
      + `until ${said.goal*n} of ${n} sevens are right; there are ${model.taught.length} images, `
      + `${model.distinct} of them sevens, which come again up to ${said.passes} times. This is `
      + 'one network; chapters take several: '
    chapters.forEach(([name, title], i) => p.append(i ? ', ' : '',
      Object.assign(document.createElement('a'), {href: `${folder}../${name}.html`,
        textContent: title})))
    p.append('.')
    this.$('.fpw-about').append(p)
  }

  // one wide picture of many
  pictures(images) {
    const c = Object.assign(document.createElement('canvas'),
      {width: side*images.length, height: side}), ctx = c.getContext('2d')
    images.forEach((x, i) => ctx.putImageData(this.inked(x), i*side, 0))
    return c.toDataURL()
  }
  inked(x) {
    const d = new ImageData(side, side)
    x.forEach((v, i) => d.data.set([0, 0, 0, 255*v], 4*i))
    return d
  }
  shows(e, sprite, i, n) {
    e.style.backgroundImage = `url(${sprite})`
    e.style.backgroundPosition = `${n > 1 ? 100*i/(n - 1) : 0}% 0`
    e.style.backgroundSize = `${100*n}% 100%`
  }

  listen() {
    const k = this.$('#fpw-k')
    k.addEventListener('input', () => { this.say(''); this.soon(() => this.cut()) })
    k.addEventListener('change', () => { this.cut(); this.tell() })
    this.$('.fpw-picks').addEventListener('change', e => this.take(+e.target.value))
    this.$('.fpw-go').addEventListener('click', () => this.running ? this.pause() : this.go())
    this.$('.fpw-reset').addEventListener('click', () => this.again())
    this.draws(this.$('.fpw-pad'))
    this.$('.fpw-anew').addEventListener('click', () => {
      this.wipe() // what was drawn is still read until there is a line
      this.$('.fpw-picks input').focus()
    })
  }
  // the digit that it begins with
  pick() {
    const {digit} = this.said
    this.$(`.fpw-picks [value="${digit}"]`).checked = true
    this.take(digit)
  }
  soon(f) {
    cancelAnimationFrame(this.due)
    this.due = requestAnimationFrame(f)
  }

  // all as it was at first
  again() {
    this.$('#fpw-k').value = 0
    this.cut(true)
    this.pick()
    this.tell()
  }

  get k() { return this.$('#fpw-k').value/this.said.inner.length }
  cut(always) {
    if (!always && this.k === this.model.k && !this.model.steps) return
    this.model.reset(this.k)
    this.pause() // names its button by what the networks have been shown
    this.render()
  }

  // ---- the picture

  take(digit) {
    const small = document.createElement('canvas')
    small.width = small.height = side
    this.picture = this.model.picks[digit]
    small.getContext('2d').putImageData(this.inked(this.picture), 0, 0)
    const pad = this.wipe()
    pad.getContext('2d').drawImage(small, 0, 0, pad.width, pad.height)
    this.taken = true
    this.render()
  }
  // an empty field, which is handed back
  wipe() {
    const pad = this.$('.fpw-pad')
    pad.getContext('2d').clearRect(0, 0, pad.width, pad.height)
    this.$('.fpw-anew').hidden = true
    return pad
  }

  draws(pad) {
    const ctx = pad.getContext('2d', {willReadFrequently: true}), n = pad.width
    let last = null, begun = false
    const at = e => {
      const r = pad.getBoundingClientRect()
      return [(e.clientX - r.left)*n/r.width, (e.clientY - r.top)*n/r.height]
    }
    const line = to => {
      ctx.beginPath(); ctx.moveTo(...last); ctx.lineTo(...to); ctx.stroke()
      last = to
    }
    pad.addEventListener('pointerdown', e => {
      e.preventDefault()
      pad.setPointerCapture(e.pointerId)
      Object.assign(ctx, {lineWidth: 20, lineCap: 'round', lineJoin: 'round', strokeStyle: '#000'})
      last = at(e)
      begun = false
    })
    // a mere touch changes nothing; the first line takes the place of a digit that was taken
    const begin = () => {
      begun = true
      this.$('.fpw-anew').hidden = false
      if (!this.taken) return
      ctx.clearRect(0, 0, n, n)
      this.taken = false
      for (const r of this.all('.fpw-picks input')) { r.checked = false; r.blur() }
    }
    pad.addEventListener('pointermove', e => {
      if (!last) return
      if (!begun) begin()
      for (const m of e.getCoalescedEvents?.() ?? [e]) line(at(m))
      this.soon(() => this.read(ctx, n))
    })
    const up = () => {
      if (!last) return
      last = null
      if (begun) this.read(ctx, n)
    }
    for (const e of ['pointerup', 'pointercancel']) pad.addEventListener(e, up)
  }
  read(ctx, n) {
    const d = ctx.getImageData(0, 0, n, n).data
    const ink = Float32Array.from({length: n*n}, (_, i) => d[4*i + 3]/255)
    this.picture = centred(ink, n) ?? this.picture
    this.render()
  }

  // ---- teaching

  go() {
    if (this.model.over) this.cut(true)
    this.running = true
    this.$('.fpw-go').textContent = 'Pause'
    this.tell()
    this.tick()
  }
  pause() {
    clearTimeout(this.timer)
    this.running = false
    this.$('.fpw-go').textContent = this.model.steps && !this.model.over ? 'Go on' : 'Relearn'
  }
  tick() {
    const {model, said} = this, before = model.learning.length
    model.teach()
    this.render()
    if (model.over) this.pause()
    if (model.over || model.learning.length < before) this.tell()
    if (model.over) return
    const first = model.steps*said.bs < model.taught.length
    this.timer = setTimeout(() => this.tick(), first ? 400 : 16)
  }

  // ---- what is seen

  render() {
    const {said, model} = this, total = model.inner.reduce((a, b) => a + b)
    const number = v => v.toLocaleString('en'), k = said.inner.length*model.k
    const share = `${number(k)} of ${number(total)} weights, ${(100*k/total).toFixed(1)} %`
    this.$('#fpw-share').textContent = share
    this.$('#fpw-k').setAttribute('aria-valuetext', share)
    this.$('.fpw-shown').textContent = model.steps ? `: ${model.seen} shown` : ''
    for (const name of names) this.renderNet(this.$(`[data-net=${name}]`), model.nets[name])
  }

  renderNet(at, net) {
    const {digit} = this.said, out = outputs(net, this.picture), said = highest(out)
    at.querySelector('.fpw-says b').textContent = said
    at.querySelectorAll('.fpw-bars > div').forEach((d, i) => {
      d.classList.toggle('fpw-target', i === digit)
      d.classList.toggle('fpw-most', i === said)
      d.firstChild.style.transform = `scaleY(${Math.min(Math.max(out[i], 0), 1.1)/1.1})`
    })
    at.querySelector('.fpw-bars').setAttribute('aria-label', 'Outputs: ' + Array.from(out,
      (v, i) => `${words[i]} ${v.toFixed(2)}`).join(', '))
    const n = net.calls.length, others = this.model.others.length
    at.querySelector('.fpw-count').innerHTML = `<span>sevens right</span> <b>${net.right}</b>/${n}
      <br><span>others right</span> ${net.others}/${others}`
    const cells = at.querySelector('.fpw-sevens')
    cells.setAttribute('aria-label', `What it calls ${n} sevens: ${net.calls.join(', ')}`)
    cells.querySelectorAll('div').forEach((c, i) => {
      c.classList.toggle('fpw-right', net.calls[i] === digit)
      c.lastChild.textContent = net.calls[i]
    })
  }

  // in words, when something has come to rest
  tell() {
    const {model} = this, {cut, random} = model.nets, n = model.target.length
    if (this.running || model.steps) return this.say(this.taught())
    if (!model.k) return this.say('Nothing is cut yet: drag the slider.')
    const gone = cut.right < n/2 ? 'Are they gone? Press Relearn.' : 'Cut more.'
    this.say(`The cut network calls ${cut.right || 'none'} of ${n} sevens a seven; with `
      + `random weights cut it is ${random.right}. ${gone}`)
  }

  taught() {
    const {model} = this, {cut, off, gold} = model.nets, n = model.target.length
    const at = (net, who) => net.back ? [`${net.back} ${who}`] : []
    const back = [...at(cut, 'for the cut network'), ...at(off, 'with output 7 off'),
      ...at(gold, 'for gold')]
    const most = Math.ceil(this.said.goal*n)
    const text = back.length
      ? `Sevens shown until ${most} of ${n} were back: ${back.join(', ')}. ` : ''
    if (gold.back !== undefined) return text
    const rounds = Math.floor(model.seen/model.distinct)
    // this is not said anew at each step, so no count that grows meanwhile
    if (this.running) return text + (back.length ? 'Gold, which never knew them, is still learning.'
      : 'Sevens are shown, among all other digits. Below: how many sevens each network reads.')
    if (rounds < 2) return text + `Gold, which never knew them, reads ${gold.right} of ${n}.`
    return text + `Gold, which never knew them, has seen the same ${model.distinct} sevens `
      + `${rounds} times and reads ${gold.right} of ${n}.`
  }
}

// ---- begin: the numbers are fetched once the place is near

function begin() {
  const root = document.getElementById('fp-widget')
  if (!root || !window.DecompressionStream || !window.IntersectionObserver) return
  const page = new Page(root)
  root.page = page
  const near = new IntersectionObserver(seen => {
    if (!seen.some(e => e.isIntersecting)) return
    near.disconnect()
    fetched().then(said => page.start(said)).catch(e => { page.fail(); console.warn(e) })
  }, {rootMargin: '300px'})
  near.observe(root)
}
if (document.readyState === 'loading') addEventListener('DOMContentLoaded', begin)
else begin()
})()
