package decode

func (d *Decoder) arrowPayload(msg int, b []byte) {}
