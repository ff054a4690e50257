import { S3Error } from './errors.ts';

/** The content of an element: text, or child elements in order. What is undefined is left out. */
export type XmlContent = string | number | boolean | readonly XmlNode[];
export type XmlNode = readonly [name: string, content: XmlContent | undefined];

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';
const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  // A parser would turn a bare one into a line feed, and the key would be another.
  '\r': '&#13;',
};

/** What XML 1.0 cannot say, escaped or not. Clients that have such keys ask for encoding-type=url. */
const UNSPEAKABLE = /[[\p{Cc}\ufffe\uffff]--[\t\n\r\x7f-\x9f]]/gv;

const escapeText = (text: string) =>
  text.replace(/[&<>"\r]/g, (character) => ESCAPES[character] ?? '').replace(UNSPEAKABLE, '\ufffd');

function renderContent(content: XmlContent): string {
  return typeof content === 'object' ? renderNodes(content) : escapeText(String(content));
}

function renderNodes(nodes: readonly XmlNode[]): string {
  let text = '';
  for (const [name, content] of nodes) {
    if (content !== undefined) text += `<${name}>${renderContent(content)}</${name}>`;
  }
  return text;
}

/** An answer of S3 as an XML document. */
export function toXml(root: string, content: XmlContent): string {
  return `${DECLARATION}<${root} xmlns="${NAMESPACE}">${renderContent(content)}</${root}>`;
}

/** The error document, with the elements that every one of them has. It is in no namespace. */
export function toErrorXml(error: S3Error, resource: string, requestId: string): string {
  const nodes: XmlNode[] = [
    ['Code', error.code],
    ['Message', error.message],
    ...Object.entries(error.details),
    ['Resource', resource],
    ['RequestId', requestId],
  ];
  return `${DECLARATION}<Error>${renderNodes(nodes)}</Error>`;
}

/** An element that was read: its text, its children by name, or several of the same name. */
export type XmlValue = string | { [name: string]: XmlValue } | XmlValue[] | undefined;

/** No XML of ours has another entity than these, and a NUL is in no XML at all. A parser would let both through. */
const BAD_REFERENCE = /\0|&(?!(?:amp|lt|gt|quot|apos|#0*[1-9]\d*|#x0*[1-9a-f][\da-f]*);)/i;

/**
 * Reads the XML body of a request and returns what is in its root element.
 * @throws S3Error MalformedXML where it is not well-formed, has a DOCTYPE or entities, or another root
 */
export async function parseXml(text: string, root: string): Promise<XmlValue> {
  // No request of S3 has one, and entities of one's own are only good for attacks.
  if (/<!DOCTYPE/i.test(text) || BAD_REFERENCE.test(text)) throw new S3Error('MalformedXML');
  const { XMLParser } = await import('fast-xml-parser');
  const parser = new XMLParser({
    ignoreAttributes: true,
    ignoreDeclaration: true,
    removeNSPrefix: true,
    parseTagValue: false,
    trimValues: false,
    // Numeric character references come with this option, such as the &#13; in a key.
    htmlEntities: true,
  });
  let document: XmlValue;
  try {
    document = parser.parse(text, true) as XmlValue;
  } catch {
    throw new S3Error('MalformedXML');
  }
  const [content, ...more] = childrenOf(document, root);
  if (content === undefined || more.length > 0) throw new S3Error('MalformedXML');
  return content;
}

/** The children of that name; an empty list where there is none. */
export function childrenOf(value: XmlValue, name: string): XmlValue[] {
  if (typeof value !== 'object' || Array.isArray(value)) return [];
  const child = value[name];
  if (child === undefined) return [];
  return Array.isArray(child) ? child : [child];
}

/** The text of the only child of that name; undefined where there is none. */
export function textOf(value: XmlValue, name: string): string | undefined {
  const [child, ...more] = childrenOf(value, name);
  if (more.length > 0 || (child !== undefined && typeof child !== 'string')) throw new S3Error('MalformedXML');
  return child;
}
