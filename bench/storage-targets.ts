/** Who is asked for files, and what requests look like there. */
import { createHash, createHmac } from 'node:crypto';
import { type Measured, startProgram } from './server.ts';

export const BUCKET = 'bench';
export const KB = 1024;
export const MB = 1024 * KB;
/** What uploads are made of. */
export const BYTES = Buffer.alloc(256 * KB, 'insforge ');

export interface Target {
  port: number;
  /** The request line and the headers that ask for a file, or announce one of so many bytes. */
  headOf(method: 'GET' | 'PUT', name: string, bytes: number): string;
}

/** The bare handler, with what its environment adds. */
export async function startBare(environment: Record<string, string>): Promise<Target & Pick<Measured, 'stop'>> {
  const { url, stop } = await startProgram('bench/bare-files.ts', environment, '/health');
  return { port: portOf(url), headOf: (method, name, bytes) => toHead(method, `/${name}`, bytes, {}), stop };
}

/** Ours, as a user whom a policy lets at their own files, and as an S3 client. */
export async function openTargets(
  { url }: Measured,
  keys: Record<string, string | undefined>,
): Promise<{ rest: Target; s3: Target }> {
  const admin = { 'x-api-key': keys.ACCESS_API_KEY ?? '' };
  const buckets = `${url}/api/storage/buckets`;
  await call('POST', buckets, admin, { bucketName: BUCKET, isPublic: false, fileSizeLimit: 200 * MB });
  await call('PUT', `${buckets}/${BUCKET}/policies`, admin, { preset: 'owner-only' });
  const session = await call(
    'POST',
    `${url}/api/auth/users?client_type=server`,
    { authorization: `Bearer ${keys.ACCESS_ANON_KEY}` },
    { email: 'bench@example.com', password: 'correct horse battery' },
  );
  const authorization = `Bearer ${session.accessToken}`;
  const key = await call('POST', `${url}/api/storage/s3/access-keys`, admin, { description: 'bench' });
  const { region } = await call('GET', `${url}/api/storage/s3/config`, admin);
  const port = portOf(url);
  return {
    rest: {
      port,
      headOf: (method, name, bytes) =>
        toHead(method, `/api/storage/buckets/${BUCKET}/objects/rest-${name}`, bytes, { authorization }),
    },
    s3: { port, headOf: createSigner({ ...key, region }) },
  };
}

export async function call(method: string, url: string, headers: Record<string, string>, body?: object): Promise<any> {
  const type: Record<string, string> = body ? { 'content-type': 'application/json' } : {};
  const reply = await fetch(url, {
    method,
    headers: { ...headers, ...type },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  if (!reply.ok) throw new Error(`${url} answered ${reply.status}: ${await reply.text()}`);
  return await reply.json();
}

const portOf = (url: string) => Number(new URL(url).port);

function toHead(method: string, path: string, bytes: number, headers: Record<string, string>): string {
  const body = { 'content-type': 'application/octet-stream', 'content-length': String(bytes) };
  const all = { host: '127.0.0.1', ...headers, ...(method === 'PUT' ? body : {}) };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest();
const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');

/** Signs headers, and the hash of a body where it is small: a client would have to read a large one twice. */
function createSigner(key: { accessKeyId: string; secretAccessKey: string; region: string }): Target['headOf'] {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  const scope = [time.slice(0, 8), key.region, 's3', 'aws4_request'];
  const signingKey = scope.reduce<string | Buffer>(hmac, `AWS4${key.secretAccessKey}`);
  const hashes = new Map<number, string>();
  const hashOf = (bytes: number) => {
    const hash = hashes.get(bytes) ?? (bytes > BYTES.length ? 'UNSIGNED-PAYLOAD' : sha256(BYTES.subarray(0, bytes)));
    hashes.set(bytes, hash);
    return hash;
  };
  return (method, name, bytes) => {
    const path = `/storage/v1/s3/${BUCKET}/s3-${name}`;
    const payload = hashOf(method === 'PUT' ? bytes : 0);
    const headers = { host: '127.0.0.1', 'x-amz-content-sha256': payload, 'x-amz-date': time };
    const names = Object.keys(headers).join(';');
    const lines = Object.entries(headers).map(([header, value]) => `${header}:${value}\n`);
    const canonical = [method, path, '', lines.join(''), names, payload].join('\n');
    const signature = hmac(signingKey, ['AWS4-HMAC-SHA256', time, scope.join('/'), sha256(canonical)].join('\n'));
    const credential = `${key.accessKeyId}/${scope.join('/')}`;
    const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names}, Signature=${signature.toString('hex')}`;
    return toHead(method, path, bytes, { ...headers, authorization });
  };
}
