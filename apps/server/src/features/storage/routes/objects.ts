import {
  DeleteObjectsReplySchema,
  DeleteObjectsSchema,
  ListObjectsQuerySchema,
  ObjectListSchema,
  StorageMessageSchema,
} from '@insforge/contract/storage.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { deleteObjects } from '../deletion.ts';
import { noObject } from '../objects.ts';
import { readPage } from '../pages.ts';
import { asActor, type Storage } from '../storage.ts';
import { toStoredFile } from '../stored-file.ts';
import { actorOf, keyOf } from './request.ts';

const OBJECTS = '/api/storage/buckets/:bucket/objects';
const BucketParamsSchema = z.object({ bucket: z.string() });

interface ObjectOptions {
  storage: Storage;
  originOf: (request: FastifyRequest) => string;
}

/** Listing and deleting, for whoever the policies let. */
export const objectRoutes: FastifyPluginAsyncZod<ObjectOptions> = async (app, { storage, originOf }) => {
  app.get(
    OBJECTS,
    {
      schema: {
        params: BucketParamsSchema,
        querystring: ListObjectsQuerySchema,
        response: { 200: ObjectListSchema },
      },
    },
    async (request) => {
      const { bucket } = request.params;
      await storage.buckets.get(bucket);
      const page = await asActor(storage, actorOf(request), `list bucket "${bucket}"`, (tx) =>
        readPage(tx, bucket, request.query),
      );
      const { offset, limit } = request.query;
      return {
        data: page.objects.map((object) => toStoredFile(originOf(request), object)),
        folders: page.folders,
        pagination: { offset, limit, total: page.total, ...(page.isTotalExact ? {} : { isTotalExact: false }) },
        nextStartAfter: page.nextStartAfter,
      };
    },
  );

  app.delete(
    OBJECTS,
    {
      schema: {
        params: BucketParamsSchema,
        body: DeleteObjectsSchema,
        response: { 200: DeleteObjectsReplySchema },
      },
    },
    async (request) => {
      const { bucket } = request.params;
      await storage.buckets.get(bucket);
      const keys = [...new Set(request.body.keys)];
      const deleted = new Set(await deleteObjects(storage, actorOf(request), bucket, keys));
      return { results: keys.map((key) => ({ key, status: deleted.has(key) ? 'deleted' : 'notFound' }) as const) };
    },
  );

  app.delete(
    `${OBJECTS}/*`,
    { schema: { params: BucketParamsSchema, response: { 200: StorageMessageSchema } } },
    async (request) => {
      const { bucket } = request.params;
      const key = keyOf(request);
      const deleted = await deleteObjects(storage, actorOf(request), bucket, [key]);
      if (deleted.length === 0) throw noObject(bucket, key);
      return { message: 'Object deleted successfully' };
    },
  );
};
