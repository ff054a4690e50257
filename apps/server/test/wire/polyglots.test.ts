import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startS3, type TestS3 } from '../s3/start.ts';
import { makeBucket, objectPath } from '../storage/files.ts';
import { hasBrowser, openPage } from './browser.ts';

// What the headers of a file are worth is decided by a browser.

/** Gives itself away by a title, and by a request to where the file came from. */
const SCRIPT = `document.title = 'ran'; fetch('/ran-script');`;
const TAG = `<script>${SCRIPT}</script>`;
const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="5" height="5" onload="fetch('/ran-onload')">${TAG}</svg>`;
const GIF = `GIF89a/*\x01\0\x80\0\0\xff\xff\xff\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;*/=1;${SCRIPT}`;
const XHTML = `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title>${TAG}</head></html>`;

/** What is uploaded under which name as which type. */
const FILES: Record<string, [content: string, type: string]> = {
  'page.html': [`<title>x</title>${TAG}`, 'text/html'],
  'page.txt': [`<title>x</title>${TAG}`, 'text/plain'],
  'page.json': [`<title>x</title>${TAG}`, 'application/json'],
  'page.png': [`<title>x</title>${TAG}`, 'image/png'],
  'page.pdf': [`%PDF-1.4\n<title>x</title>${TAG}`, 'application/pdf'],
  'page.xhtml': [XHTML, 'application/xhtml+xml'],
  'page.xml': [XHTML, 'text/xml'],
  'page.mht': [`MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n${TAG}`, 'multipart/related'],
  'no-type': [`<title>x</title>${TAG}`, 'application/x-unknown'],
  'picture.svg': [SVG, 'image/svg+xml'],
  'picture.svg.png': [SVG, 'image/png'],
  'script.js': [SCRIPT, 'text/javascript'],
  'script.txt': [SCRIPT, 'text/plain'],
  'script.gif': [GIF, 'image/gif'],
};

async function startWithFiles(settings = {}): Promise<TestS3 & { origin: string }> {
  const s3 = await startS3();
  await makeBucket(s3, 'b', { isPublic: true, ...settings });
  for (const [key, [content, type]] of Object.entries(FILES)) {
    const body = Buffer.from(content, 'latin1');
    const stored = await s3.as('admin').put(objectPath('b', key), body, { 'content-type': type });
    expect(stored.status, key).toBe(200);
  }
  return { ...s3, origin: new URL(s3.endpoint).origin };
}

/** The same files from a server that says of them what it was told and no more. */
async function startGullible(): Promise<string> {
  const server = createServer(({ url = '' }, response) => {
    const [content, type] = FILES[decodeURIComponent(url.split('/').at(-1) ?? '')] ?? ['', 'text/html'];
    response.setHeader('content-type', type).end(Buffer.from(content, 'latin1'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const WAYS = { framed: 'iframe', 'as script': 'script', embedded: 'embed', 'as image': 'img' };

/** Opens each URL as a page, and in a page of the same origin, as the dashboard is; tells what has run. */
async function whatRuns(origin: string, urls: string[]): Promise<string[]> {
  const page = await openPage();
  const ran = new Set<string>();
  let current = '';
  page.on('request', (request) => {
    if (new URL(request.url()).pathname.startsWith('/ran-')) ran.add(current);
  });
  const look = async () => {
    const titles = await Promise.all(page.frames().map((frame) => frame.title().catch(() => '')));
    if (titles.includes('ran')) ran.add(current);
  };
  for (const url of urls) {
    const name = new URL(url).pathname.split('/').at(-1);
    current = `${name} opened`;
    // A download is no page, which is told as an error.
    await page.goto(url).catch(() => undefined);
    await look();
    for (const [way, element] of Object.entries(WAYS)) {
      current = `${name} ${way}`;
      await page.goto(`${origin}/api/health`);
      const answered = page.waitForResponse(url);
      await page.evaluate(embedding(element, url));
      await answered;
      // What is still to come of it comes before the answer to what is asked for now.
      await page.evaluate(`fetch('/api/health').then((reply) => reply.text())`);
      await look();
    }
  }
  return [...ran];
}

/** What a page has to do to have something in it. */
const embedding = (element: string, url: string) =>
  `document.body.append(Object.assign(document.createElement('${element}'), { src: ${JSON.stringify(url)} }))`;

const urlsOf = (origin: string) => Object.keys(FILES).map((key) => origin + objectPath('b', key));

describe.skipIf(!hasBrowser)('in a browser', { timeout: 60_000 }, () => {
  test('files run where nobody keeps them from it', async () => {
    const origin = await startGullible();
    const ran = await whatRuns(origin, urlsOf(origin));
    expect(ran).toEqual(expect.arrayContaining(['page.html opened', 'page.html framed', 'page.xhtml opened']));
    expect(ran).toEqual(expect.arrayContaining(['picture.svg opened', 'picture.svg embedded', 'script.txt as script']));
  });

  test('nothing that was uploaded runs, however it is opened', async () => {
    const { origin } = await startWithFiles();
    expect(await whatRuns(origin, urlsOf(origin))).toEqual([]);
  });

  test('what an admin has shown does not run either, and an SVG is a picture', async () => {
    const { origin } = await startWithFiles({ inlineActiveContent: true });
    expect(await whatRuns(origin, urlsOf(origin))).toEqual([]);
    const page = await openPage();
    await page.goto(`${origin}/api/health`);
    const url = JSON.stringify(origin + objectPath('b', 'picture.svg'));
    const width = await page.evaluate(
      `(async () => { const image = new Image(); image.src = ${url}; await image.decode(); return image.naturalWidth; })()`,
    );
    expect(width).toBe(5);
  });

  test('nothing runs from a presigned URL of S3 either', async () => {
    const { origin, client } = await startWithFiles();
    const urls = Object.keys(FILES).map((Key) => getSignedUrl(client, new GetObjectCommand({ Bucket: 'b', Key })));
    expect(await whatRuns(origin, await Promise.all(urls))).toEqual([]);
  });
});
