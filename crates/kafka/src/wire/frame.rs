//! The headers around a body. A frame is a length prefix, a header, a body; the prefix is the connection's business
//! when reading and the writer's when writing.

use super::{ApiKey, Error, Reader, RequestHeader, ResponseHeader, Result, Writer};

/// Reads the header of a request, leaving `r` at the body. The version in it may be one we do not support: the caller
/// decides what to answer.
pub fn decode_request_header<'a>(r: &mut Reader<'a>) -> Result<RequestHeader<'a>> {
    let mut ahead = r.clone();
    let (number, version) = (ahead.i16()?, ahead.i16()?);
    let key = ApiKey::try_from(number).map_err(|_unknown| Error::Unsupported {
        what: "API key",
        version: number,
    })?;
    RequestHeader::decode(r, key.request_header_version(version))
}

/// Starts a request frame: the header is written, the body is next.
pub fn encode_request_header(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Writer> {
    let header = RequestHeader {
        request_api_key: key.into(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(Into::into),
    };
    let mut w = Writer::frame();
    header.encode(&mut w, key.request_header_version(version))?;
    Ok(w)
}

/// Reads the header of a response to a request of this key and version; answers with its correlation id.
pub fn decode_response_header(r: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<i32> {
    let header = ResponseHeader::decode(r, key.response_header_version(version))?;
    Ok(header.correlation_id)
}

/// Starts a response frame: the header is written, the body is next.
pub fn encode_response_header(key: ApiKey, version: i16, correlation_id: i32) -> Result<Writer> {
    let mut w = Writer::frame();
    let header = ResponseHeader { correlation_id };
    header.encode(&mut w, key.response_header_version(version))?;
    Ok(w)
}
