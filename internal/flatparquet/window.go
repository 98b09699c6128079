package flatparquet

import "io"

// window is bytes that are read without being copied. It implements parquet.BufferedReader.
type window struct{ data []byte }

func (w *window) Peek(n int) ([]byte, error) {
	if n > len(w.data) {
		return w.data, io.EOF
	}
	return w.data[:n], nil
}

func (w *window) Discard(n int) (int, error) {
	if n > len(w.data) {
		n = len(w.data)
		w.data = nil
		return n, io.EOF
	}
	w.data = w.data[n:]
	return n, nil
}

func (w *window) Read(p []byte) (int, error) {
	if len(w.data) == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, w.data)
	w.data = w.data[n:]
	return n, nil
}
