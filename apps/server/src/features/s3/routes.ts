import {
  CreateS3AccessKeySchema,
  S3AccessKeyIdSchema,
  S3AccessKeyListSchema,
  S3AccessKeyWithSecretSchema,
  S3ConfigSchema,
} from '@insforge/contract/s3.ts';
import type { FastifyContextConfig, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { bytesOf } from '#features/storage/index.ts';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { logFailure } from '#platform/http/leaving.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { type AccessKeyRing, createAccessKey, deleteAccessKey, listAccessKeys } from './access-keys.ts';
import type { Gateway } from './context.ts';
import { corsHeaders } from './cors.ts';
import { serve, toS3Error } from './gateway.ts';
import { GATEWAY_PATH, readRequest } from './request.ts';
import { toErrorXml } from './xml.ts';

interface AdminOptions {
  db: Db;
  cipher: Cipher;
  keys: AccessKeyRing;
  /** The URL that the client reached this server under. */
  originOf: (request: FastifyRequest) => string;
  region: string;
}

const WRITE_LIMIT = { max: 20, timeWindow: '15 minutes' };

/** The access keys of the gateway, and where it is, for the admin. */
export const accessKeyRoutes: FastifyPluginAsyncZod<AdminOptions> = async (app, options) => {
  const { db, cipher, keys, originOf, region } = options;
  app.get('/api/storage/s3/config', { schema: { response: { 200: S3ConfigSchema } } }, async (request) => ({
    endpoint: originOf(request) + GATEWAY_PATH,
    region,
    available: true,
  }));

  app.get('/api/storage/s3/access-keys', { schema: { response: { 200: S3AccessKeyListSchema } } }, () =>
    listAccessKeys(db.system),
  );

  app.post(
    '/api/storage/s3/access-keys',
    {
      config: { rateLimit: WRITE_LIMIT },
      schema: { body: CreateS3AccessKeySchema, response: { 201: S3AccessKeyWithSecretSchema } },
    },
    async (request, reply) => {
      const { description } = request.body;
      const key = await db.system.tx(async (tx) => {
        const created = await createAccessKey(tx, cipher, description);
        const details = { accessKeyId: created.accessKeyId, description };
        await audit(tx, request, { action: 'CREATE_S3_ACCESS_KEY', module: 'STORAGE', details });
        return created;
      });
      keys.forget();
      reply.status(201);
      return key;
    },
  );

  app.delete(
    '/api/storage/s3/access-keys/:id',
    { config: { rateLimit: WRITE_LIMIT }, schema: { params: S3AccessKeyIdSchema } },
    async (request, reply) => {
      await db.system.tx(async (tx) => {
        const { accessKeyId } = await deleteAccessKey(tx, request.params.id);
        await audit(tx, request, { action: 'DELETE_S3_ACCESS_KEY', module: 'STORAGE', details: { accessKeyId } });
      });
      keys.forget();
      return reply.status(204).send();
    },
  );
};

interface GatewayOptions {
  gateway: Gateway;
  keys: AccessKeyRing;
  originOf: (request: FastifyRequest) => string;
  /** How long a body may stand still, in either direction. */
  idleMs: number;
}

/** The protocol itself. Its own signature is the guard of this scope, and errors are XML. */
export const gatewayRoutes: FastifyPluginAsync<GatewayOptions> = async (app, options) => {
  const { gateway, keys, originOf, idleMs } = options;
  // Bodies are read by the operations, as streams; what type they are is the uploader's business.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _body, done) => done(null));
  app.addHook('onRequest', (request, _reply, done) => {
    request.raw.headers['content-type'] = undefined;
    done();
  });

  app.setErrorHandler(async (error, request, reply) => {
    const s3Error = await toS3Error(error, gateway.storage, { method: request.method, url: request.raw.url ?? '' });
    if (s3Error.status >= 500 && s3Error.code !== 'NotImplemented') logFailure(error, request, reply);
    const hasBody = request.method !== 'HEAD' && s3Error.status !== 304;
    reply.status(s3Error.status).header('x-amz-request-id', request.id);
    // What is left of such a body will not come, and must not be waited for.
    if (s3Error.code === 'RequestTimeout') reply.header('connection', 'close');
    if (!hasBody) return reply.send();
    const [path = ''] = (request.raw.url ?? '').split('?', 1);
    return reply.type('application/xml').send(toErrorXml(s3Error, path.slice(GATEWAY_PATH.length) || '/', request.id));
  });

  const handle = async (request: FastifyRequest, reply: FastifyReply) => {
    await allowOrigin(gateway, request, reply);
    const { raw } = request;
    const {
      reply: answer,
      operation,
      request: asked,
      accessKeyId,
    } = await serve(gateway, keys, {
      method: request.method,
      url: raw.url ?? '',
      rawHeaders: raw.rawHeaders,
      origin: originOf(request),
      body: bytesOf(raw, idleMs),
    });
    if (operation.audit) {
      request.caller = { kind: 'api-key', claims: { role: 'project_admin' }, actor: `s3:${accessKeyId}` };
      const details = { bucketName: asked.bucket };
      await audit(gateway.storage.db.system, request, { action: operation.audit, module: 'STORAGE', details });
    }
    reply.status(answer.status ?? 200).header('x-amz-request-id', request.id);
    for (const [name, value] of Object.entries(answer.headers ?? {}))
      if (value !== undefined) reply.header(name, value);
    // Node destroys a socket that times out. In-process requests have none.
    if (answer.body !== undefined && 'setTimeout' in raw.socket) raw.socket.setTimeout(idleMs);
    return reply.send(answer.body);
  };

  for (const url of [GATEWAY_PATH, `${GATEWAY_PATH}/*`]) {
    const config: FastifyContextConfig & { cors: false } = { cors: false };
    app.route({
      // No operation has PATCH; it is here to be refused in the form that clients read.
      method: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH'],
      url,
      config,
      exposeHeadRoute: false,
      handler: handle,
    });
    app.options(url, { config }, async (request, reply) => {
      await allowOrigin(gateway, request, reply);
      return reply.status(reply.hasHeader('access-control-allow-origin') ? 204 : 403).send();
    });
  }
};

/** A bucket may have rules of its own on which pages get in; this is why CORS is not that of the other routes. */
async function allowOrigin(
  { storage }: Gateway,
  { headers, method, raw }: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  if (headers.origin === undefined) return;
  const asked = headers['access-control-request-headers']?.split(',').map((name) => name.trim());
  const question = {
    origin: headers.origin,
    method: headers['access-control-request-method'] ?? method,
    headers: (asked ?? []).filter((name) => name !== ''),
  };
  const { bucket } = readRequest(method, raw.url ?? '', []);
  reply.headers(await corsHeaders(storage, bucket, question));
}
