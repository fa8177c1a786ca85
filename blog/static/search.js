// Excerpts of search results are words of the page's text, not of the buttons and lists around it, which the theme counts as main content, nor of the meanings of terms
addEventListener('DOMContentLoaded', () => {
  if (typeof Search === 'undefined') return
  const whole = Search.htmlToText
  Search.htmlToText = (html, anchor) => {
    const article = new DOMParser().parseFromString(html, 'text/html').querySelector('article')
    article?.querySelectorAll('[role="tooltip"], p.when').forEach(e => e.remove())
    return whole(article ? `<div role="main">${article.innerHTML}</div>` : html, anchor)
  }
})
