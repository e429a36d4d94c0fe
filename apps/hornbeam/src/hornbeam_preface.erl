%% SPDX-License-Identifier: Apache-2.0
%% @doc What a client speaks, told from its first bytes. Pure; runs in the connection process.
%%
%% HTTP/2 with prior knowledge starts with a preface (RFC 9113, 3.4). The other way to it on a
%% cleartext connection, the upgrade of an HTTP/1.1 request to `h2c', was never widely used and is
%% deprecated (RFC 9113, 3.1); Cowboy would take it, also with a request body that it then reads as
%% frames, and also over TLS. A server may ignore an upgrade (RFC 9110, 7.8), so the fields that
%% ask for it are taken out of the request before Cowboy sees it. The response then closes the
%% connection: only its first request is seen here.
-module(hornbeam_preface).

-export([look/1, is_upgrade/1]).

-define(PREFACE, "PRI * HTTP/2.0\r\n").

%% @doc `more' while it cannot be told; what is given to Cowboy in place of the bytes otherwise.
%% At most so many bytes are waited for as `look/1' gets: a longer head goes on as it is.
-spec look(binary()) -> more | http2 | {http1, binary()}.
look(<<?PREFACE, _/binary>>) ->
    http2;
look(Bytes) ->
    case binary:match(Bytes, <<"\r\n\r\n">>) of
        {Start, 4} -> {http1, without_upgrade(Bytes, Start)};
        nomatch -> more
    end.

without_upgrade(Bytes, End) ->
    <<Head:End/binary, Rest/binary>> = Bytes,
    case re:run(Head, "\r\nhttp2-settings:", [caseless, {capture, none}]) of
        match ->
            Kept = re:replace(Head, "\r\n(?:http2-settings|upgrade|connection):[^\r\n]*", "",
                [caseless, global, {return, binary}]),
            <<Kept/binary, "\r\nconnection: close", Rest/binary>>;
        nomatch ->
            Bytes
    end.

%% @doc Whether Cowboy has taken this HTTP/1.1 request for such an upgrade: a later one of its
%% connection, or one whose head was too long to look at.
-spec is_upgrade(cowboy:http_headers()) -> boolean().
is_upgrade(#{<<"http2-settings">> := _, <<"upgrade">> := Upgrade, <<"connection">> := Options}) ->
    has(<<"h2c">>, Upgrade) andalso has(<<"upgrade">>, Options) andalso
        has(<<"http2-settings">>, Options);
is_upgrade(_) ->
    false.

has(Token, List) ->
    Tokens = binary:split(cowboy_bstr:to_lower(List), [<<",">>, <<" ">>, <<"\t">>], [global]),
    lists:member(Token, Tokens).
