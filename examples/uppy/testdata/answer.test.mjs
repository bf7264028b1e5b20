import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UploadError } from 'wsingest';
import { answerOf, wordsOf } from '../answer.js';

const json = { 'Content-Type': ['application/json; charset=utf-8'] };
const result = (more) => ({ id: 'x', length: 3, ...more });
const success = (more, link) => answerOf.success(result(more), 'wss://files.example/upload/?a=b', link);

test('the address of the file is what the app says, made absolute', () => {
  assert.equal(success({ response: { status: 201, headers: { Location: ['/files/1'] }, body: 'ok' } }).uploadURL, 'https://files.example/files/1');
  assert.equal(success({ response: { status: 201, headers: { location: ['https://cdn.example/1'] } } }).uploadURL, 'https://cdn.example/1');
  assert.equal(success({ response: { status: 200, headers: json, body: '{"url":"../files/2"}' } }).uploadURL, 'https://files.example/files/2');
  assert.equal(success({ response: { status: 200, body: 'ok' } }).uploadURL, undefined);
  assert.equal(success({ response: { status: 200, headers: { Location: ['http://['] } } }).uploadURL, undefined);
});

test('a published file has an address if the page says where such files are', () => {
  assert.equal(success({ location: 'a/b c.txt' }).uploadURL, undefined);
  assert.equal(success({ location: 'a/b c#.txt' }, '/files').uploadURL, 'https://files.example/files/a/b%20c%23.txt');
  assert.deepEqual(success({ location: 'a' }).body, { location: 'a' });
});

test('the body is an object, whatever the app said', () => {
  const body = (headers, text) => success({ response: { status: 200, headers, body: text } }).body;
  assert.deepEqual(body(json, '{"id":7}'), { id: 7 });
  assert.deepEqual(body({ 'Content-Type': ['application/problem+json'] }, '{"detail":"no"}'), { detail: 'no' });
  assert.deepEqual(body(json, '[1]'), { text: '[1]' });
  assert.deepEqual(body(json, '{"cut":'), { text: '{"cut":' });
  assert.deepEqual(body({}, '{"id":7}'), { text: '{"id":7}' });
  assert.deepEqual(body({}, undefined), { text: '' });
});

test('an error has the answer of the app, and its words', () => {
  const refused = (headers, body) => new UploadError('rejected', 'refused', { response: { status: 422, headers, body } });
  assert.deepEqual(answerOf.error(refused(json, '{"error":"not a picture"}')), { status: 422, body: { error: 'not a picture' } });
  assert.equal(wordsOf(refused(json, '{"error":"not a picture"}')), 'not a picture');
  assert.equal(wordsOf(refused(json, '{"error":{"code":1},"message":"too dark"}')), 'too dark');
  assert.equal(wordsOf(refused({ 'Content-Type': ['text/plain'] }, ' not a picture\n')), 'not a picture');
  assert.equal(wordsOf(refused({ 'Content-Type': ['text/html'] }, '<h1>no</h1>')), undefined);
  assert.equal(wordsOf(refused({ 'Content-Type': ['text/plain'] }, 'x'.repeat(5000))).length, 300);
  assert.equal(answerOf.error(new UploadError('disconnected', 'gone')), undefined);
  assert.equal(wordsOf(new Error('other')), undefined);
});
