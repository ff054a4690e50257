/** Media types that SQL of the project provides: domains named like one, returned by functions and aggregates. */

import type { Format, MediaType } from '../grammar/media-types.ts';
import { baseType } from '../schema/build.ts';
import type { MediaHandler, Schema, Type } from '../schema/types.ts';
import { relationOf } from './fields.ts';
import type { NodePlan } from './types.ts';

const ANY = '*/*';
/** What an answer is when neither the request nor the function says more. */
const UNKNOWN = 'application/octet-stream';

/**
 * The format that a media type has here by the project's own SQL; null when a function returns another media
 * type and so nothing else will do; undefined when the project says nothing.
 */
export function customFormat(schema: Schema, node: NodePlan, asked: MediaType): Format | null | undefined {
  const { source } = node;
  if (source.kind === 'call' && source.call.routine.returns.kind === 'scalar') {
    return formatOfType(schema, source.call.routine.returns.type, asked);
  }
  // A handler takes whole rows of its table.
  const isWhole = node.outputs.length === 1 && node.outputs[0]?.kind === 'all';
  const handler = isWhole ? findHandler(schema, node, asked) : undefined;
  if (!handler) return undefined;
  const { aggregate, isBinary } = handler;
  return {
    kind: 'custom',
    contentType: contentTypeOf(handler.mediaType, asked),
    areNullsStripped: false,
    aggregate,
    isBinary,
  };
}

function formatOfType(schema: Schema, type: Type, asked: MediaType): Format | null | undefined {
  if (type.kind !== 'domain' || !type.short.includes('/')) return undefined;
  if (type.short !== ANY && asked.name !== ANY && asked.name !== type.short.toLowerCase()) return null;
  const isBinary = baseType(type.oid, schema.types).short === 'bytea';
  return { kind: 'custom', contentType: contentTypeOf(type.short, asked), areNullsStripped: false, isBinary };
}

/** One of the table itself comes before one for all. */
function findHandler({ mediaHandlers }: Schema, { source }: NodePlan, asked: MediaType): MediaHandler | undefined {
  const oid = relationOf(source)?.oid;
  const fits = mediaHandlers.filter(
    ({ mediaType, relationOid }) =>
      (mediaType === ANY || mediaType.toLowerCase() === asked.name) &&
      (relationOid === undefined || relationOid === oid),
  );
  return fits.find(({ relationOid }) => relationOid !== undefined) ?? fits[0];
}

function contentTypeOf(provided: string, asked: MediaType): string {
  if (provided !== ANY) return provided;
  return asked.name === ANY ? UNKNOWN : asked.name;
}
