%% SPDX-License-Identifier: Apache-2.0
%% @doc Handshakes of WebSockets: RFC 6455, section 4.2, over HTTP/1.1; RFC 8441 over HTTP/2.
%%
%% Pure but for zlib's contexts, which `accept/4' makes; runs in the connection process.
-module(hornbeam_websocket_handshake).

-export([check/1, accept/4]).
-export_type([handshake/0]).

-type handshake() :: #{
    version := cowboy:http_version(),
    %% Of `sec-websocket-key'; over HTTP/2 there is none.
    key := binary() | undefined,
    %% What the client offers, in its order.
    subprotocols := [binary()],
    extensions := binary()
}.

-define(GUID, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").

%% @doc What a request asks for. `none': it is a request like any other. To be called for what has
%% an `upgrade' header, or is a CONNECT with a protocol.
-spec check(cowboy_req:req()) ->
    none | {ok, handshake()} | {refuse, 400..599, Reason :: binary(), cowboy:http_headers()}.
check(#{version := 'HTTP/2', protocol := Protocol} = Req) ->
    case cowboy_bstr:to_lower(Protocol) of
        <<"websocket">> -> version(undefined, Req);
        _ -> refuse(501, <<"the protocol of CONNECT is not websocket">>)
    end;
check(#{version := 'HTTP/1.1', headers := #{<<"upgrade">> := Upgrade}} = Req) ->
    case lists:member(<<"websocket">>, tokens(cowboy_bstr:to_lower(Upgrade))) of
        true -> upgrade(Req);
        false -> none
    end;
check(_) ->
    none.

upgrade(#{method := Method}) when Method =/= <<"GET">> ->
    refuse(400, <<"the method of a WebSocket handshake is GET">>);
upgrade(#{has_body := true}) ->
    refuse(400, <<"a WebSocket handshake has no body">>);
upgrade(#{headers := Headers} = Req) ->
    Connection = cowboy_bstr:to_lower(maps:get(<<"connection">>, Headers, <<>>)),
    case lists:member(<<"upgrade">>, tokens(Connection)) of
        true -> key(maps:get(<<"sec-websocket-key">>, Headers, <<>>), Req);
        false -> refuse(400, <<"the connection header does not say upgrade">>)
    end.

key(Key, Req) ->
    try base64:decode(Key) of
        <<_:16/binary>> -> version(Key, Req);
        _ -> refuse(400, <<"the sec-websocket-key is not of 16 bytes">>)
    catch
        error:_ -> refuse(400, <<"the sec-websocket-key is no base64">>)
    end.

version(Key, #{headers := #{<<"sec-websocket-version">> := <<"13">>}} = Req) ->
    subprotocols(Key, Req);
version(undefined, _) ->
    refuse(400, <<"the version of WebSocket is 13">>, #{<<"sec-websocket-version">> => <<"13">>});
version(_, _) ->
    refuse(426, <<"the version of WebSocket is 13">>, #{
        <<"sec-websocket-version">> => <<"13">>, <<"upgrade">> => <<"websocket">>
    }).

subprotocols(Key, #{version := Version, headers := Headers}) ->
    Offered = tokens(maps:get(<<"sec-websocket-protocol">>, Headers, <<>>)),
    case lists:all(fun hornbeam_edge_syntax:is_token/1, Offered) of
        true ->
            {ok, #{
                version => Version,
                key => Key,
                subprotocols => Offered,
                extensions => maps:get(<<"sec-websocket-extensions">>, Headers, <<>>)
            }};
        false ->
            refuse(400, <<"a subprotocol is no token">>)
    end.

refuse(Status, Reason) -> refuse(Status, Reason, #{}).

refuse(Status, Reason, Headers) -> {refuse, Status, Reason, Headers}.

%% A list of RFC 9110, 5.6.1; empty elements count for nothing.
tokens(Value) ->
    Trimmed = [trim(Token) || Token <- binary:split(Value, <<",">>, [global])],
    [Token || Token <- Trimmed, Token =/= <<>>].

trim(Token) -> list_to_binary(string:trim(binary_to_list(Token), both, " \t")).

%% @doc The headers of the answer that opens it, and the contexts of permessage-deflate, which is
%% spoken when Compress is true and the client offers it.
-spec accept(handshake(), Subprotocol :: binary() | undefined, cowboy:http_headers(), Compress) ->
    {cowboy:http_headers(), Inflate :: Deflate, Deflate}
when
    Compress :: boolean(), Deflate :: hornbeam_websocket_frames:deflate().
accept(#{extensions := Offered} = Handshake, Subprotocol, Headers, Compress) ->
    Answer = maps:merge(Headers, maps:merge(switching(Handshake), subprotocol(Subprotocol))),
    case Compress andalso extensions(Offered) of
        {ok, Chosen, #{inflate := Inflate, deflate := Deflate} = Contexts} ->
            #{inflate_takeover := InTakeover, deflate_takeover := OutTakeover} = Contexts,
            {Answer#{<<"sec-websocket-extensions">> => iolist_to_binary(Chosen)},
                {Inflate, InTakeover}, {Deflate, OutTakeover}};
        _ ->
            {Answer, none, none}
    end.

switching(#{key := undefined}) ->
    #{};
switching(#{key := Key}) ->
    #{
        <<"connection">> => <<"Upgrade">>,
        <<"upgrade">> => <<"websocket">>,
        <<"sec-websocket-accept">> => base64:encode(crypto:hash(sha, [Key, ?GUID]))
    }.

subprotocol(undefined) -> #{};
subprotocol(Name) -> #{<<"sec-websocket-protocol">> => Name}.

%% The first offer that can be met. One that is not understood is none. (RFC 7692, 5)
extensions(<<>>) ->
    false;
extensions(Offered) ->
    try cow_http_hd:parse_sec_websocket_extensions(Offered) of
        Parsed -> negotiate([Params || {<<"permessage-deflate">>, Params} <- Parsed])
    catch
        error:_ -> false
    end.

negotiate([]) ->
    false;
negotiate([Params | Rest]) ->
    case cow_ws:negotiate_permessage_deflate(Params, #{}, #{level => default}) of
        {ok, _, _} = Negotiated -> Negotiated;
        ignore -> negotiate(Rest)
    end.
