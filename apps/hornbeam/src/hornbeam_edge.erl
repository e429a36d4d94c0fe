%% SPDX-License-Identifier: Apache-2.0
%% @doc What Cowboy lets through and an application must not see: each request is checked here
%% before anything else is done with it.
%% Pure, and hot: runs in the connection process for every request, allocates next to nothing when
%% all is well. The rules: RFC 9110 (fields, methods, host), RFC 9112 (HTTP/1.1), RFC 9113 (HTTP/2).
-module(hornbeam_edge).

-export([limits/1, cowboy_limits/1, check/2, check_again/2]).
-export_type([limits/0, verdict/0]).

-import(hornbeam_edge_syntax, [
    is_token/1,
    is_field_name/1,
    is_field_value/1,
    is_visible/1,
    is_authority/1,
    is_digits/1
]).

-type limits() :: #{
    http_version := [cowboy:http_version(), ...],
    %% Bytes: method, target and version with the spaces between.
    max_request_line_size := pos_integer(),
    %% Names; a repeated header counts once.
    max_headers := pos_integer(),
    %% Bytes of a name and its value, of repeated headers joined.
    max_header_size := pos_integer(),
    %% Bytes.
    max_body := non_neg_integer() | infinity
}.

-type verdict() :: ok | {refuse, Status :: 400..599, Reason :: binary()}.

-define(MAX_METHOD, 32).
-define(VERSION_SIZE, 8).

%% @doc The limits that `check/2' needs, out of a checked configuration.
-spec limits(hornbeam_options:config()) -> limits().
limits(Config) ->
    maps:with([http_version, max_request_line_size, max_headers, max_header_size, max_body],
        Config).

%% @doc Options of Cowboy that let through to `check/2' what is at a limit, and refuse what is
%% so far over it that its end has not arrived: Cowboy compares with what is in its buffer, which
%% may end in the CR of the line.
-spec cowboy_limits(limits()) -> #{atom() => pos_integer()}.
cowboy_limits(#{max_request_line_size := Line, max_headers := Headers,
    max_header_size := Header}) ->
    #{
        max_request_line_length => Line + 1,
        max_method_length => ?MAX_METHOD + 1,
        max_headers => Headers,
        max_header_name_length => Header,
        max_header_value_length => Header + 1
    }.

%% @doc `ok', or the status to refuse the request with and why (English, for the log and the body
%% of the response; it repeats no byte of the request). The connection should be closed after it:
%% where one rule is broken, nobody knows where the next request starts.
-spec check(cowboy_req:req(), limits()) -> verdict().
check(#{headers := Headers} = Req, #{max_headers := MaxHeaders, max_header_size := Max} = Limits) ->
    case request_line(Req, Limits) of
        ok when map_size(Headers) =< MaxHeaders ->
            case headers(maps:to_list(Headers), Max) of
                ok -> host(Headers, Req, Limits);
                Refused -> Refused
            end;
        ok ->
            {refuse, 431, <<"too many headers">>};
        Refused ->
            Refused
    end.

%% @doc The same for a request whose header fields equal those of one that passed `check/2' on the
%% same connection: over HTTP/1 what was said of them holds again.
-spec check_again(cowboy_req:req(), limits()) -> verdict().
check_again(#{headers := Headers, version := Version} = Req, Limits) ->
    case request_line(Req, Limits) of
        ok when Version =:= 'HTTP/2' -> authority(Headers, Req, Limits);
        ok -> framing(Headers, Req, Limits);
        Refused -> Refused
    end.

request_line(#{method := Method, path := Path, qs := Query}, #{max_request_line_size := Max}) ->
    request_line(Method, Path, Query, Max).

request_line(Method, Path, Query, Max) when
    byte_size(Method) + byte_size(Path) + byte_size(Query) + ?VERSION_SIZE + 2 =< Max
->
    case is_method(Method) of
        true -> target(Method, Path, Query, Max);
        false -> bad_method(Method)
    end;
request_line(Method, _, _, _) when byte_size(Method) > ?MAX_METHOD ->
    bad_method(Method);
request_line(_, _, _, _) ->
    {refuse, 414, <<"the request line is too long">>}.

bad_method(Method) when byte_size(Method) > ?MAX_METHOD ->
    {refuse, 501, <<"the method is too long">>};
bad_method(_) ->
    {refuse, 400, <<"the method is no token">>}.

is_method(<<"GET">>) -> true;
is_method(<<"POST">>) -> true;
is_method(Method) -> byte_size(Method) =< ?MAX_METHOD andalso is_token(Method).

target(Method, Path, <<>>, _) ->
    path(Method, Path);
%% The question mark is one byte more.
target(Method, Path, Query, Max) when
    byte_size(Method) + byte_size(Path) + byte_size(Query) + ?VERSION_SIZE + 3 =< Max
->
    case is_visible(Query) of
        true -> path(Method, Path);
        false -> {refuse, 400, <<"the query has a byte that must be percent-encoded">>}
    end;
target(_, _, _, _) ->
    {refuse, 414, <<"the request line is too long">>}.

path(_, <<"/">>) ->
    ok;
path(_, <<"/", Rest/binary>>) ->
    case is_visible(Rest) of
        true -> ok;
        false -> {refuse, 400, <<"the path has a byte that must be percent-encoded">>}
    end;
path(<<"OPTIONS">>, <<"*">>) ->
    ok;
path(_, _) ->
    {refuse, 400, <<"the path does not start with a slash">>}.

headers([{Name, Value} | Rest], Max) when byte_size(Name) + byte_size(Value) =< Max ->
    case is_field_name(Name) of
        true ->
            case is_field_value(Value) of
                true -> headers(Rest, Max);
                false -> {refuse, 400, <<"a header value has a control character">>}
            end;
        false ->
            bad_name(Name)
    end;
headers([], _) ->
    ok;
headers(_, _) ->
    {refuse, 431, <<"a header is too large">>}.

bad_name(Name) ->
    case binary:match(Name, <<"_">>) of
        nomatch -> {refuse, 400, <<"a header name is no token">>};
        _ -> {refuse, 400, <<"a header name has an underscore">>}
    end.

host(Headers, #{version := 'HTTP/2'} = Req, Limits) ->
    authority(Headers, Req, Limits);
host(#{<<"host">> := Host} = Headers, Req, Limits) ->
    case is_authority(Host) of
        true -> framing(Headers, Req, Limits);
        false -> {refuse, 400, <<"the host header is not one host with an optional port">>}
    end;
%% Over HTTP/1.1 Cowboy refuses its absence; HTTP/1.0 may do without.
host(Headers, Req, Limits) ->
    framing(Headers, Req, Limits).

%% HTTP/2 has pseudo-headers; Cowboy takes any scheme and any port. (RFC 9113 8.3.1)
authority(Headers, #{scheme := Scheme, host := Host, port := Port} = Req, Limits) when
    (Scheme =:= <<"http">> orelse Scheme =:= <<"https">>), Port > 0, Port =< 65535
->
    case is_authority(Host) andalso is_same_host(Headers, Host, Port) of
        true -> framing(Headers, Req, Limits);
        false -> {refuse, 400, <<"the authority is not one host, the same as the host header">>}
    end;
authority(_, _, _) ->
    {refuse, 400, <<"the scheme is not http or https, or the port is out of range">>}.

is_same_host(#{<<"host">> := Given}, Host, Port) ->
    case cowboy_bstr:to_lower(Given) of
        Host -> true;
        Longer -> Longer =:= <<Host/binary, ":", (integer_to_binary(Port))/binary>>
    end;
is_same_host(#{}, _, _) ->
    true.

%% Where the body ends must be beyond doubt.
framing(_, #{has_body := true, body_length := undefined, version := 'HTTP/1.0'}, _) ->
    {refuse, 400, <<"transfer-encoding over HTTP/1.0">>};
framing(#{<<"content-length">> := Length} = Headers, #{body_length := Size} = Req, Limits) ->
    case is_digits(Length) of
        true -> body(Size, Headers, Req, Limits);
        false -> {refuse, 400, <<"the content-length is no number">>}
    end;
framing(Headers, #{body_length := Size} = Req, Limits) ->
    body(Size, Headers, Req, Limits).

%% A body of unknown length is counted as it comes. `infinity' is greater than any number.
body(Size, _, _, #{max_body := Max}) when is_integer(Size), Size > Max ->
    {refuse, 413, <<"the body is too large">>};
body(_, #{<<"expect">> := Expect}, #{version := Version}, Limits) when Version =/= 'HTTP/1.0' ->
    case cowboy_bstr:to_lower(Expect) of
        <<"100-continue">> -> version(Version, Limits);
        _ -> {refuse, 417, <<"the only expectation that can be met is 100-continue">>}
    end;
body(_, _, #{version := Version}, Limits) ->
    version(Version, Limits).

version(_, #{http_version := [_, _]}) -> ok;
version('HTTP/2', #{http_version := ['HTTP/2']}) -> ok;
version(Version, #{http_version := ['HTTP/1.1']}) when Version =/= 'HTTP/2' -> ok;
version(_, _) -> {refuse, 505, <<"this version of HTTP is switched off">>}.
