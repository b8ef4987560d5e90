import { createFileRegistry, type DescEnum, type DescFile, type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/**
 * The part of a compiled descriptor set that explains some services, and some files more.
 *
 * A file is handed out as the compiler wrote it: decoding and encoding again would lose options that this process has no schema for.
 */
export class DescriptorSet {
  readonly #bytes = new Map<string, Uint8Array>();
  readonly #dependencies = new Map<string, readonly string[]>();
  readonly #fileOfSymbol = new Map<string, string>();
  readonly #messages = new Set<string>();

  /** Keeps the files that declare `services`, `files`, and what they import. One that `descriptors` does not hold is a defect: it throws. */
  constructor(descriptors: Uint8Array, services: readonly string[], files: readonly string[] = []) {
    const bytes = splitFiles(descriptors);
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
    const wanted = [
      ...services.map(name => ({ name, file: registry.getService(name)?.file })),
      ...files.map(name => ({ name, file: registry.getFile(name) })),
    ];
    for (const { name, file } of wanted) {
      if (!file) throw new Error(`the descriptor set holds no ${name}`);
      this.#keep(file, bytes);
    }
  }

  /** The file and, behind it, everything it needs. Undefined: not part of what is offered. */
  file(name: string): Uint8Array[] | undefined {
    if (!this.#bytes.has(name)) return undefined;
    const order = new Set([name]);
    // A set hands out what is added while it is walked.
    for (const each of order) for (const needed of this.#dependencies.get(each) ?? []) order.add(needed);
    return [...order].flatMap(each => this.#bytes.get(each) ?? []);
  }

  /** The same for the file that declares a service, method, message, field, enum or enum value. */
  fileOfSymbol(symbol: string): Uint8Array[] | undefined {
    const name = this.#fileOfSymbol.get(symbol);
    return name === undefined ? undefined : this.file(name);
  }

  isMessage(symbol: string): boolean {
    return this.#messages.has(symbol);
  }

  #keep(file: DescFile, bytes: ReadonlyMap<string, Uint8Array>): void {
    const name = file.proto.name;
    const raw = bytes.get(name);
    if (this.#bytes.has(name) || raw === undefined) return;
    this.#bytes.set(name, raw);
    this.#dependencies.set(name, file.proto.dependency);
    for (const symbol of symbolsOf(file)) this.#fileOfSymbol.set(symbol, name);
    for (const message of allMessages(file.messages)) this.#messages.add(message.typeName);
    for (const dependency of file.dependencies) this.#keep(dependency, bytes);
  }
}

/** The encoded files of an encoded `google.protobuf.FileDescriptorSet`, by name. */
function splitFiles(descriptors: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const reader = new BinaryReader(descriptors);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited) {
      const bytes = reader.bytes();
      files.set(fromBinary(FileDescriptorProtoSchema, bytes).name, bytes);
    } else reader.skip(wireType, field);
  }
  return files;
}

function* symbolsOf(file: DescFile): Generator<string> {
  for (const service of file.services) {
    yield service.typeName;
    for (const method of service.methods) yield `${service.typeName}.${method.name}`;
  }
  for (const each of file.enums) yield* enumSymbols(each);
  for (const message of allMessages(file.messages)) {
    yield message.typeName;
    for (const field of message.fields) yield `${message.typeName}.${field.name}`;
    for (const each of message.nestedEnums) yield* enumSymbols(each);
  }
}

/** Values are siblings of their enum, not children (descriptor.proto). */
function* enumSymbols(each: DescEnum): Generator<string> {
  yield each.typeName;
  const scope = each.typeName.slice(0, each.typeName.length - each.name.length);
  for (const value of each.values) yield scope + value.name;
}

function* allMessages(messages: readonly DescMessage[]): Generator<DescMessage> {
  for (const message of messages) {
    yield message;
    yield* allMessages(message.nestedMessages);
  }
}
