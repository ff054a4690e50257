import { createReadStream } from 'node:fs';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { AppError } from '#platform/errors.ts';

/** A file that was sent with a form. It waits on disk, as the fields may come after it. */
export interface Upload<Fields> {
  filename: string;
  fields: Fields;
  open: () => AsyncIterable<Buffer>;
}

/**
 * Receives a form with the file `file`.
 * @throws AppError INVALID_INPUT when the file or a field is missing
 */
export async function receiveForm<Schema extends z.ZodType>(
  request: FastifyRequest,
  schema: Schema,
  tmpdir: string,
): Promise<Upload<z.output<Schema>>> {
  if (!request.isMultipart()) {
    throw new AppError('INVALID_INPUT', 'Send a form (multipart/form-data) with the file in the field "file"');
  }
  const { files } = await request.saveRequestFiles({ tmpdir });
  const [file] = files;
  if (!file) throw new AppError('INVALID_INPUT', 'file: is missing');
  const values = Object.entries(file.fields).flatMap(([name, field]) =>
    field && !Array.isArray(field) && field.type === 'field' ? [[name, field.value] as const] : [],
  );
  const parsed = schema.safeParse(Object.fromEntries(values));
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new AppError('INVALID_INPUT', problems.join(', '));
  }
  return { filename: file.filename, fields: parsed.data, open: () => createReadStream(file.filepath) };
}
