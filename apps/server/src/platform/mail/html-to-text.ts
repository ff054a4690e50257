/** Elements whose content nobody reads. */
const HIDDEN = new Set(['head', 'style', 'script', 'title', 'template']);
/** What a new line, or a blank one, stands for. */
const BREAKS: Record<string, number> = { br: 1, tr: 1, li: 1, dt: 1, dd: 1, div: 1, hr: 1 };
for (const name of ['p', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'ul', 'ol', 'dl', 'table', 'blockquote', 'pre', 'section'])
  BREAKS[name] = 2;

const ENTITIES: Record<string, string> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  copy: '©',
  reg: '®',
  trade: '™',
  hellip: '…',
  ndash: '–',
  mdash: '—',
  lsquo: '‘',
  rsquo: '’',
  ldquo: '“',
  rdquo: '”',
  bull: '•',
  middot: '·',
  euro: '€',
};

/** A message without its markup, for programs and people that read plain text. Links keep their address. */
export function htmlToText(html: string): string {
  const text = createText();
  const lower = html.toLowerCase();
  let link: { href: string; start: number } | undefined;
  // Everything moves forward only: a message of many open brackets must not take quadratic time.
  for (let at = 0; at < html.length; ) {
    const open = html.indexOf('<', at);
    if (open < 0) {
      text.write(html.slice(at));
      break;
    }
    text.write(html.slice(at, open));
    if (html.startsWith('<!--', open)) {
      at = after(html, '-->', open + 4);
      continue;
    }
    const end = endOfTag(html, open);
    if (!/[a-z/!?]/i.test(html[open + 1] ?? '') || end < 0) {
      text.write('<');
      at = open + 1;
      if (end < 0) {
        text.write(html.slice(at));
        break;
      }
      continue;
    }
    const tag = lower.slice(open + 1, end);
    const name = /^\/?([a-z][a-z0-9]*)/.exec(tag)?.[1] ?? '';
    at = end + 1;
    if (HIDDEN.has(name) && !tag.startsWith('/')) at = after(lower, `</${name}`, at, '>');
    else if (name === 'a') {
      closeLink(text, link);
      link = tag.startsWith('/') ? undefined : { href: hrefOf(html.slice(open, end)), start: text.position() };
    } else {
      text.breakLines(BREAKS[name] ?? 0);
      if (tag === 'li' || tag.startsWith('li ')) text.write('- ');
    }
  }
  return text.toString();
}

interface Text {
  write(html: string): void;
  /** The address of a link, after its words. Left out where it can be read anyhow. */
  mention(address: string): void;
  breakLines(count: number): void;
  position(): number;
  since(position: number): string;
  toString(): string;
}

/** Collects text as a browser would lay it out: runs of blanks are one, and no more than one line is empty. */
function createText(): Text {
  const parts: string[] = [];
  const mentions = new Map<number, string>();
  let lines = 0;
  let isBlank = false;
  return {
    write(html) {
      const words = decode(html.replace(/\s+/g, ' '));
      const trimmed = words.trim();
      if (trimmed === '') {
        isBlank ||= words !== '';
        return;
      }
      if (parts.length > 0) {
        if (lines > 0) parts.push('\n'.repeat(lines));
        else if (isBlank || words.startsWith(' ')) parts.push(' ');
      }
      parts.push(trimmed);
      lines = 0;
      isBlank = words.endsWith(' ');
    },
    mention(address) {
      mentions.set(parts.push(` (${address})`) - 1, address);
    },
    breakLines(count) {
      lines = Math.max(lines, count);
    },
    position: () => parts.length,
    since: (position) => parts.slice(position).join('').trim(),
    toString() {
      const words = new Set(
        parts
          .filter((_, index) => !mentions.has(index))
          .join('')
          .split(/\s+/),
      );
      return parts.filter((_, index) => !words.has(mentions.get(index) ?? '')).join('');
    },
  };
}

function closeLink(text: Text, link: { href: string; start: number } | undefined): void {
  if (!link || !/^(https?|mailto):/i.test(link.href)) return;
  const label = text.since(link.start);
  if (label === link.href || `mailto:${label}` === link.href) return;
  if (label === '') text.write(link.href);
  else text.mention(link.href);
}

/** The index of the `>` that ends a tag; one inside of quotes does not. */
function endOfTag(html: string, open: number): number {
  let quote = '';
  for (let index = open + 1; index < html.length; index++) {
    const character = html[index] ?? '';
    if (quote !== '') quote = character === quote ? '' : quote;
    else if (character === '"' || character === "'") quote = character;
    else if (character === '>') return index;
  }
  return -1;
}

function after(html: string, mark: string, from: number, until = ''): number {
  const found = html.indexOf(mark, from);
  if (found < 0) return html.length;
  const end = until === '' ? found + mark.length : html.indexOf(until, found) + 1;
  return end > 0 ? end : html.length;
}

function hrefOf(tag: string): string {
  const [, double, single, bare] = /\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/i.exec(tag) ?? [];
  return decode(double ?? single ?? bare ?? '').trim();
}

function decode(html: string): string {
  return html.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,8}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? whole;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code > 31 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : '';
  });
}
