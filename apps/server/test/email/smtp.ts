import { once } from 'node:events';
import type { Readable } from 'node:stream';
import PostalMime, { type Email } from 'postal-mime';
import { SMTPServer, type SMTPServerAddress, type SMTPServerOptions, type SMTPServerSession } from 'smtp-server';
import { onTestFinished } from 'vitest';
import type { TestApp } from '../harness.ts';

/** A mail as it came in. */
interface Received {
  from: string;
  /** Of the envelope: also those of blind copies. */
  to: string[];
  mail: Email;
  raw: string;
}

/** What a server answers to a recipient or a message; undefined accepts. */
type Verdict = { code: number; text: string } | undefined;

export interface SmtpOptions {
  onRecipient?: (address: string) => Verdict;
  onMessage?: (received: Received) => Verdict | Promise<Verdict>;
  server?: SMTPServerOptions;
}

export interface TestSmtp {
  host: string;
  port: number;
  received: Received[];
  /** Waits for the n-th mail since the start, from 1. */
  nth(n: number): Promise<Received>;
  logins: { username: string; password: string }[];
  connections: () => number;
  close(): Promise<void>;
}

export const LOGIN = { username: 'mailer', password: 'only-for-this-test' };

/** A real mail server, on a free port of this machine. */
export async function startSmtp({ onRecipient, onMessage, server: more }: SmtpOptions = {}): Promise<TestSmtp> {
  const received: Received[] = [];
  const waiting = new Map<number, (mail: Received) => void>();
  const logins: TestSmtp['logins'] = [];
  let connections = 0;
  const receive = async (stream: Readable, { envelope: { mailFrom, rcptTo } }: SMTPServerSession) => {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    const raw = Buffer.concat(chunks).toString('utf8');
    const mail = await PostalMime.parse(raw);
    const one = { from: mailFrom ? mailFrom.address : '', to: rcptTo.map(({ address }) => address), mail, raw };
    const refused = refusal(await onMessage?.(one));
    if (refused) return refused;
    received.push(one);
    waiting.get(received.length)?.(one);
    return undefined;
  };
  const server = new SMTPServer({
    logger: false,
    onConnect(_session, done) {
      connections++;
      done();
    },
    onAuth({ username, password }, _session, done) {
      logins.push({ username: username ?? '', password: password ?? '' });
      if (username === LOGIN.username && password === LOGIN.password) done(null, { user: username });
      else done(Object.assign(new Error('no such login'), { responseCode: 535 }));
    },
    onRcptTo({ address }: SMTPServerAddress, _session, done) {
      done(refusal(onRecipient?.(address)));
    },
    onData(stream, session: SMTPServerSession, done) {
      // Also where the client dies in the middle of a message, which is none then.
      receive(stream, session).then(done, done);
    },
    ...more,
  });
  server.on('error', () => {});
  const listening = server.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const address = listening.address();
  if (typeof address !== 'object' || !address) throw new Error('no port');
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()));
  onTestFinished(close);
  return {
    host: '127.0.0.1',
    port: address.port,
    received,
    nth(n) {
      const known = received[n - 1];
      return known ? Promise.resolve(known) : new Promise((resolve) => waiting.set(n, resolve));
    },
    logins,
    connections: () => connections,
    close,
  };
}

const refusal = (verdict: Verdict): Error | null =>
  verdict ? Object.assign(new Error(verdict.text), { responseCode: verdict.code }) : null;

/** The environment under which a mail server of this machine may be used. */
export const NEARBY = { ALLOW_PRIVATE_NETWORK: 'true' };

export const settingsFor = ({ host, port }: { host: string; port: number }) => ({
  enabled: true,
  host,
  port,
  ...LOGIN,
  senderEmail: 'app@example.com',
  senderName: 'The App',
  minIntervalSeconds: 0,
});

/** Makes an app send through a mail server. */
export async function useSmtp({ as }: TestApp, smtp: { host: string; port: number }, more = {}): Promise<void> {
  const reply = await as('admin').put('/api/auth/smtp-config', { ...settingsFor(smtp), ...more });
  if (reply.status !== 200) throw new Error(reply.text);
}

/** What the development mailbox holds for an address, newest first. */
export async function mailsTo({ as }: TestApp, to: string): Promise<any[]> {
  const { body } = await as('admin').get(`/api/email/outbox?limit=100&to=${encodeURIComponent(to)}`);
  return body.data;
}
