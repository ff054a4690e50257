/** Media types that SQL of the project provides: domains named like one, returned by functions and aggregates. */

import { type Format, type MediaType, VENDOR } from '../grammar/media-types.ts';
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
    const { isSet, returns } = source.call.routine;
    return isSet ? undefined : formatOfType(schema, returns.type, asked);
  }
  const handler = asked.name.startsWith(VENDOR) ? undefined : findHandler(schema, node, asked);
  if (!handler) return undefined;
  const { aggregate, isBinary } = handler;
  return {
    kind: 'custom',
    contentType: contentTypeOf(handler.mediaType),
    areNullsStripped: false,
    aggregate,
    isBinary,
  };
}

function formatOfType(schema: Schema, type: Type, asked: MediaType): Format | null | undefined {
  if (type.kind !== 'domain' || !type.short.includes('/')) return undefined;
  if (type.short !== ANY && asked.name !== ANY && asked.name !== type.short.toLowerCase()) return null;
  const isBinary = baseType(type.oid, schema.types).short === 'bytea';
  return { kind: 'custom', contentType: contentTypeOf(type.short), areNullsStripped: false, isBinary };
}

/** One of the table itself comes before one for all; it takes whole rows of the table only. */
function findHandler({ mediaHandlers }: Schema, node: NodePlan, asked: MediaType): MediaHandler | undefined {
  const isWhole = node.outputs.length === 1 && node.outputs[0]?.kind === 'all';
  const oid = isWhole ? relationOf(node.source)?.oid : null;
  const fits = mediaHandlers.filter(
    ({ mediaType, relationOid }) =>
      (mediaType === ANY || mediaType.toLowerCase() === asked.name) &&
      (relationOid === undefined || relationOid === oid),
  );
  return fits.find(({ relationOid }) => relationOid !== undefined) ?? fits[0];
}

const WITH_CHARSET = new Set(['application/geo+json', 'application/json', 'text/csv', 'text/plain', 'text/xml']);

/** Of any type, SQL says which one it made. */
function contentTypeOf(provided: string): string {
  if (provided === ANY) return UNKNOWN;
  return WITH_CHARSET.has(provided.toLowerCase()) ? `${provided}; charset=utf-8` : provided;
}
